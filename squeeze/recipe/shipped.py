"""The recipes that come with squeeze: in the wheel, or in ``recipes/`` of a checkout."""

from pathlib import Path

from squeeze.core.errors import InputError, unknown_name

_PACKAGE = Path(__file__).parents[1]
_FOLDERS = (_PACKAGE / "recipe" / "recipes", _PACKAGE.parent / "recipes")


def folder() -> Path:
    """Return the folder of the recipes.

    Raises:
        InputError: The installation has none.
    """
    for place in _FOLDERS:
        if any(place.glob("*.yaml")):
            return place
    raise InputError("this installation has no recipes", hint="install squeeze again")


def names() -> dict[str, Path]:
    """Return the file of every recipe by its name."""
    return {path.stem: path for path in sorted(folder().glob("*.yaml"))}


def find(name: str) -> Path:
    """Return the file of one recipe.

    Raises:
        InputError: None has this name.
    """
    known = names()
    stem = name.removesuffix(".yaml")
    if stem not in known:
        raise InputError(unknown_name("recipe", name, known))
    return known[stem]


def goal(path: Path) -> str:
    """Return what a recipe is for: the sentence behind ``# Goal:`` in its header."""
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("# ").strip()
        if lines and _is_heading(text):
            break
        if lines or text.startswith("Goal:"):
            lines.append(text.removeprefix("Goal:").strip())
    sentence, dot, _ = " ".join(lines).partition(". ")
    return sentence + dot.strip()


def _is_heading(text: str) -> bool:
    """Whether a line of the header starts the next part, such as ``Command:``."""
    word = text.partition(":")[0]
    return ":" in text and word[:1].isupper() and len(word.split()) <= 3  # noqa: PLR2004
