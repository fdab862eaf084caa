"""Read a recipe file, showing every mistake at once as ``file:line:col: …``."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from squeeze.core import reading
from squeeze.core.errors import InputError, Problem, RecipeError
from squeeze.recipe import explain, partial, plan
from squeeze.recipe.document import Path_, SourceMap, read
from squeeze.recipe.loaded import LoadedRecipe
from squeeze.recipe.schema import Recipe, expand_data_reference

Mistakes = list[tuple[Path_, str]]

_DIGITS = 6


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read and validate one recipe file.

    Args:
        path: The YAML file.
        overrides: ``path.to.key=value`` strings; the value is read as YAML.

    Raises:
        RecipeError: With all mistakes of syntax, types, names and ranges.
    """
    path = Path(path)
    try:
        text = reading.text(path, reading.YAML_BYTES)
    except InputError as error:
        raise RecipeError([Problem(error.where or str(path), error.what)]) from None
    data, source, problems = read(text, str(path))
    return _loaded(data, path.resolve().parent, source, overrides, problems)


def from_data(
    data: dict[str, object], folder: Path, overrides: Sequence[str] = (), *, name: str = "flags"
) -> LoadedRecipe:
    """Validate a recipe that was built from command-line flags or in Python.

    Args:
        data: What the YAML file would hold; the overrides are written into it.
        folder: Where relative paths start.
        overrides: As for ``load_recipe``.
        name: What messages call the place that it came from.

    Raises:
        RecipeError: With all mistakes.
    """
    return _loaded(data, folder, SourceMap(name, {(): name}), overrides, [])


def _loaded(
    data: object,
    folder: Path,
    source: SourceMap,
    overrides: Sequence[str],
    problems: list[Problem],
) -> LoadedRecipe:
    for override in overrides:
        problems += _override(data, source, override)
    if not isinstance(data, dict):
        found = "nothing" if data is None else f"a {type(data).__name__}"
        what = f"found {found}, a recipe is a mapping of keys"
        raise RecipeError([*problems, Problem(source.where(()), what)])
    recipe, mistakes = _validated(data)
    if recipe is None or problems:
        if recipe is None:
            recipe, hidden = partial.readable(data)
            mistakes += hidden
        if recipe is not None:
            mistakes += plan.mistakes(recipe, folder)
        problems += [Problem(source.where(path), what) for path, what in mistakes]
        raise RecipeError(explain.arranged(problems))
    return LoadedRecipe(recipe, folder, source)


def _validated(data: dict[str, object]) -> tuple[Recipe | None, Mistakes]:
    """Check plain data against the schema; return the recipe or all its mistakes."""
    try:
        return Recipe.model_validate(data), []
    except ValidationError as error:
        return None, explain.mistakes(error, data)


def _override(data: object, source: SourceMap, override: str) -> list[Problem]:
    key, equals, text = override.partition("=")
    where = f"--set {override}"
    if not equals or not key:
        return [Problem(where, "found no 'path=value', for example steps.0.pruning_ratio=0.5")]
    try:
        value, _, problems = read(text, where)
        path, there = _put(data, key.split("."), value)
    except RecipeError as error:
        return list(error.problems)
    except LookupError as missing:
        return [Problem(where, f"there is no '{missing.args[0]}' in the recipe")]
    for known in [mark for mark in source.marks if mark[: len(path)] == path]:
        del source.marks[known]
    for depth in range(there + 1, len(path) + 1):
        source.marks[path[:depth]] = where
    return problems


def _put(place: object, parts: list[str], value: object) -> tuple[Path_, int]:
    """Set a value deep inside plain data, making the blocks on the way that are left out.

    Returns:
        The path, and how many of its first parts were there before.

    Raises:
        LookupError: With the first part of the path that cannot be there.
    """
    path: list[str | int] = []
    there = 0
    for depth, part in enumerate(parts):
        key = _key(place, part)
        if key is None:
            raise LookupError(".".join(parts[: depth + 1]))
        path.append(key)
        following = parts[depth + 1] if depth + 1 < len(parts) else None
        found = _given(place, key)
        if following is None:
            found = value
        elif found is None:
            found = [] if following.isdigit() else {}
        else:
            there = depth + 1
            if isinstance(found, str) and path[:-1] == ["data"]:
                found = expand_data_reference(found)
        if isinstance(key, int):
            cast("list[object]", place)[key : key + 1] = [found]
        else:
            cast("dict[str, object]", place)[key] = found
        place = found
    return tuple(path), there


def _given(place: object, key: str | int) -> object:
    """Return what stands at a key of a mapping or an index of a list; None where nothing does."""
    values = dict(enumerate(place)) if isinstance(place, list) else place
    return values.get(key) if isinstance(values, dict) else None


def _key(place: object, part: str) -> str | int | None:
    """Return the key or index that ``part`` names in ``place``; one past a list's end appends."""
    if isinstance(place, dict):
        return part
    is_index = part.isascii() and part.isdigit() and len(part) <= _DIGITS
    if isinstance(place, list) and is_index and int(part) <= len(place):
        return int(part)
    return None
