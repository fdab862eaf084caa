"""``squeeze run``."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import options

if TYPE_CHECKING:
    from squeeze.recipe.loaded import LoadedRecipe


def run(
    recipe: Annotated[Path, typer.Argument(help="The recipe file.")],
    output: options.Output = Path("runs"),
    set: options.Overrides = None,
    fresh: options.Fresh = False,
    remeasure: options.Remeasure = False,
    quiet: options.Quiet = False,
    json: options.AsJson = False,
    debug: options.Debug = False,
    devices: options.Devices = 1,
    allow_code: options.AllowCode = None,
) -> None:
    """Run a recipe: steps, export, measurements, gates, report.

    Started by torchrun, all its processes train together, also on several machines if they share
    the output folder.
    """
    del allow_code
    from squeeze.recipe.load import load_recipe

    show = {"fresh": fresh, "remeasure": remeasure, "quiet": quiet, "json": json, "debug": debug}
    start(load_recipe(recipe, tuple(set or ())), output, show, devices)


def start(loaded: "LoadedRecipe", output: Path, show: dict[str, bool], devices: int) -> None:
    """Run a loaded recipe in so many processes, of which this one leads or follows."""
    from squeeze.cli import devices as processes
    from squeeze.recipe import plan

    if devices == 1 and not processes.started_together():
        execute(loaded, output, show)
        return
    plan.check(loaded)
    with processes.together(devices) as number:
        if number:
            from squeeze.pipeline import run as pipeline

            pipeline.follow(loaded, fresh=show["fresh"])
            return
        execute(loaded, output, show)


def execute(loaded: "LoadedRecipe", output: Path, show: dict[str, bool]) -> None:
    """Run a loaded recipe and print its outcome; exit with 3 when a gate failed."""
    from squeeze.cli import console
    from squeeze.core.errors import EXIT_GATE
    from squeeze.pipeline import run as pipeline

    results, folder = pipeline.run(
        loaded,
        output=output,
        progress=console.Terminal(quiet=show["quiet"]),
        command=shlex.join(["squeeze", *sys.argv[1:]]),
        fresh=show["fresh"],
        remeasure=show["remeasure"],
    )
    if show["json"]:
        console.out(results.model_dump_json(indent=1))
    else:
        console.summary(results)
        for file in sorted((folder.path / "artifacts").glob("*")):
            if file.suffix != ".json" and file.name.startswith(results.models[-1].name):
                console.out(f"file    {file}")
        for row in results.rows:
            if row.model == results.models[-1].name and row.runtime == "pytorch" and row.artifact:
                console.out(f"bundle  {folder.path / row.artifact}")
        console.out(f"report  {folder.path / 'report.html'}")
    if not results.passed:
        raise typer.Exit(EXIT_GATE)
