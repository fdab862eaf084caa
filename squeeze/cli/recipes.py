"""``squeeze recipes``: the recipes that come with squeeze."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from squeeze.cli import completion, options


def shipped_names(incomplete: str) -> list[str]:
    """Complete the name of a recipe."""
    from squeeze.recipe import shipped

    return completion.starting_with(incomplete, shipped.names())


Name = Annotated[
    str,
    typer.Argument(
        help="Name of a recipe; see squeeze recipes list.",
        metavar="NAME",
        autocompletion=shipped_names,
    ),
]

app = typer.Typer(no_args_is_help=True, help="List and copy the recipes that come with squeeze.")


@app.command("list")
def list_recipes() -> None:
    """List the recipes with what each is for."""
    from squeeze.cli import console
    from squeeze.recipe import shipped

    for name, path in shipped.names().items():
        console.out(f"{name}\n    {shipped.goal(path)}")


@app.command("copy")
def copy(
    name: Name,
    path: Annotated[Path | None, typer.Argument(help="File to write. Default: NAME.yaml.")] = None,
    debug: options.Debug = False,
) -> None:
    """Copy a recipe, with its comments, to change it."""
    del debug
    from squeeze.recipe import shipped

    source = shipped.find(name)
    place = path or Path(source.name)
    write(copied(source, place), place)


def copied(source: Path, path: Path) -> str:
    """Return the text of a recipe that comes with squeeze, whose commands name its copy.

    Args:
        source: The recipe.
        path: Where its copy is going to be.
    """
    text = source.read_text(encoding="utf-8")
    return text.replace(f"recipes/{source.name}", shlex.quote(str(path)))


def write(text: str, path: Path) -> None:
    """Write a new recipe file, and say what to do next.

    Raises:
        InputError: The file is there already or cannot be written.
    """
    from squeeze.cli import console
    from squeeze.core.errors import InputError
    from squeeze.store import write_text

    if path.exists():
        raise InputError("exists already", where=str(path), hint="choose another name")
    write_text(path, text)
    console.out(f"wrote {path}; edit it, then: squeeze check {path}")
