"""``squeeze run``."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import options
from squeeze.cli.flag_groups import Switches

if TYPE_CHECKING:
    from squeeze.recipe.loaded import LoadedRecipe


@dataclass(frozen=True, kw_only=True)
class RunFlags:
    """How a recipe is run."""

    output: options.Output = Path("runs")
    devices: options.Devices = 1
    fresh: options.Fresh = False
    remeasure: options.Remeasure = False


def run(
    recipe: Annotated[Path, typer.Argument(help="The recipe file.")],
    *,
    set: options.Overrides = None,
    running: RunFlags,
    switches: Switches,
) -> None:
    """Run a recipe: steps, export, measurements, gates, report.

    Started by torchrun, all its processes train together, also on several machines if they share
    the output folder.
    """
    from squeeze.recipe.load import load_recipe

    start(load_recipe(recipe, tuple(set or ())), running, switches)


def start(loaded: "LoadedRecipe", flags: RunFlags, switches: Switches) -> None:
    """Run a loaded recipe in as many processes as asked for, of which this one may lead."""
    from squeeze.cli import devices as processes
    from squeeze.recipe import plan

    if flags.devices == 1 and not processes.started_together():
        execute(loaded, flags, switches)
        return
    plan.check(loaded)
    with processes.together(flags.devices) as number:
        if number:
            from squeeze.pipeline import run as pipeline

            pipeline.follow(loaded, fresh=flags.fresh)
            return
        execute(loaded, flags, switches)


def execute(loaded: "LoadedRecipe", flags: RunFlags, switches: Switches) -> None:
    """Run a loaded recipe and print its outcome; exit with 3 when a gate failed."""
    from squeeze.api.run import run as run_recipe
    from squeeze.cli import console
    from squeeze.core.errors import EXIT_GATE

    done = run_recipe(
        loaded,
        output=flags.output,
        progress=console.Terminal(quiet=switches.quiet),
        command=shlex.join(["squeeze", *sys.argv[1:]]),
        fresh=flags.fresh,
        remeasure=flags.remeasure,
    )
    if switches.json:
        console.out(done.results.model_dump_json(indent=1))
    else:
        console.summary(done.results)
        for path in done.candidate:
            console.out(f"{'bundle' if path.is_dir() else 'file':6}  {path}")
        console.out(f"report  {done.folder.path / 'report.html'}")
    if not done.passed:
        raise typer.Exit(EXIT_GATE)
