"""``squeeze init``."""

from pathlib import Path
from typing import Annotated

import typer


def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("recipe.yaml"),
) -> None:
    """Write a starting recipe with comments."""
    from squeeze.cli import console
    from squeeze.core.errors import InputError
    from squeeze.store import write_text

    if path.exists():
        raise InputError("exists already", where=str(path), hint="choose another name")
    template = Path(__file__).with_name("starting_recipe.yaml")
    write_text(path, template.read_text(encoding="utf-8"))
    console.out(f"wrote {path}; edit it, then: squeeze check {path}")
