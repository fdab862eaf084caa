"""``squeeze init``."""

from pathlib import Path
from typing import Annotated

import typer

from squeeze.cli import completion, options
from squeeze.cli.recipes import copied, shipped_names, write

_TEMPLATES = {
    "classification": "starting_recipe.yaml",
    "detection": "starting_detection_recipe.yaml",
}


def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("recipe.yaml"),
    task: Annotated[
        str,
        typer.Option(
            metavar="TASK",
            help="classification or detection.",
            autocompletion=completion.of(_TEMPLATES),
        ),
    ] = "classification",
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME",
            help="Start from a recipe that comes with squeeze; see squeeze recipes list.",
            autocompletion=shipped_names,
        ),
    ] = None,
    debug: options.Debug = False,
) -> None:
    """Write a recipe to start from."""
    del debug
    from squeeze.core.errors import InputError, unknown_name
    from squeeze.recipe import shipped

    if task not in _TEMPLATES:
        raise InputError(unknown_name("task", task, _TEMPLATES), where="--task")
    if source is None:
        write(Path(__file__).with_name(_TEMPLATES[task]).read_text(encoding="utf-8"), path)
        return
    options.refuse({"--task": task != "classification"}, "follows from the recipe of --from")
    write(copied(shipped.find(source), path), path)
