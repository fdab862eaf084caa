"""``squeeze train``."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import options

if TYPE_CHECKING:
    from squeeze.cli.console import Terminal
    from squeeze.recipe.loaded import LoadedRecipe


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe with a baseline.train block.")],
    bundle: Annotated[Path, typer.Option("--bundle", "-b", help="Folder to save the bundle in.")],
    set: options.Overrides = None,
    devices: options.Devices = 1,
    quiet: options.Quiet = False,
    allow_code: options.AllowCode = None,
    debug: options.Debug = False,
) -> None:
    """Train a recipe's baseline only and save it as a bundle.

    Every epoch writes a checkpoint beside it, from which the same command resumes if it is killed.
    """
    del debug, allow_code
    from squeeze.cli import console
    from squeeze.cli import devices as processes
    from squeeze.recipe import plan
    from squeeze.recipe.load import load_recipe

    loaded = load_recipe(recipe, tuple(set or ()))
    plan.check(loaded)
    terminal = console.Terminal(quiet=quiet)
    if devices == 1 and not processes.started_together():
        _lead(loaded, bundle, terminal)
        return
    with processes.together(devices) as number:
        if number:
            _follow(loaded)
            return
        _lead(loaded, bundle, terminal)


def _lead(loaded: "LoadedRecipe", bundle: Path, terminal: "Terminal") -> None:
    from squeeze.store import UNFINISHED, new_folder

    with new_folder(bundle):
        pass  # a place that cannot be written is reported before the training, not after it
    bundle.rmdir()
    from squeeze.cli import console
    from squeeze.models.bundle import save
    from squeeze.pipeline import trainings
    from squeeze.tasks import open_task

    unfinished = bundle.with_name(bundle.name + UNFINISHED)
    model, epochs = trainings.train_baseline(loaded, terminal, unfinished)
    save(model, bundle)
    shutil.rmtree(unfinished, ignore_errors=True)
    kept = next(number for number, epoch in enumerate(epochs, start=1) if epoch.kept)
    metric, score = open_task(loaded.recipe.task, model.input).METRIC, epochs[kept - 1].score
    console.out(f"{metric} in torch {score:.2%} after epoch {kept} of {len(epochs)}")
    last = epochs[-1]
    console.out(f"{last.images_per_s:,.0f} images/s, {last.data_wait:.0%} waiting for data")
    console.out(f"bundle  {bundle}")


def _follow(loaded: "LoadedRecipe") -> None:
    """Take part in the training that another process leads, and leave nothing."""
    from squeeze.core.types import Silent
    from squeeze.pipeline import trainings
    from squeeze.store import scratch

    with scratch() as folder:
        trainings.train_baseline(loaded, Silent(), folder / "unfinished")
