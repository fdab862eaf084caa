"""``squeeze train``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import options

if TYPE_CHECKING:
    from squeeze.core.types import Progress
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
            from squeeze.api.train_recipe import follow

            follow(loaded)
            return
        _lead(loaded, bundle, terminal)


def _lead(loaded: "LoadedRecipe", bundle: Path, progress: "Progress") -> None:
    from squeeze.api.train_recipe import train_recipe
    from squeeze.cli import console

    done = train_recipe(loaded, bundle, progress)
    console.out(
        f"{done.metric} in torch {done.kept.score:.2%} after epoch {done.number} of "
        f"{len(done.epochs)}"
    )
    last = done.epochs[-1]
    console.out(f"{last.images_per_s:,.0f} images/s, {last.data_wait:.0%} waiting for data")
    console.out(f"bundle  {bundle}")
