"""``squeeze preview``."""

from pathlib import Path
from typing import Annotated

import typer

from squeeze.cli import options


def preview(
    recipe: Annotated[Path, typer.Argument(help="A recipe that trains something.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG to write.")] = Path(
        "preview.png"
    ),
    training: Annotated[
        str | None,
        typer.Option(help="baseline, or a step such as 1-prune. Default: the first that trains."),
    ] = None,
    images: Annotated[int, typer.Option(min=1, max=400, help="Number of images.")] = 36,
    set: options.Overrides = None,
    quiet: options.Quiet = False,
    allow_code: options.AllowCode = None,
    debug: options.Debug = False,
) -> None:
    """Show the augmented training images before training on them.

    They are the first images of the first epoch, exactly as the run will draw them, with their
    labels; mixed images show the share of each label.
    """
    del debug, allow_code
    from squeeze.cli import console
    from squeeze.recipe import plan
    from squeeze.recipe.load import load_recipe
    from squeeze.store import new_file

    loaded = load_recipe(recipe, tuple(set or ()))
    plan.check(loaded)
    from squeeze.pipeline import trainings

    sheet = trainings.preview(loaded, training, images, console.Terminal(quiet=quiet))
    with new_file(output) as inside:
        sheet.save(inside, "PNG")
    console.out(f"preview  {output}")
