"""``squeeze check``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import options

if TYPE_CHECKING:
    from squeeze.core.errors import Problem


def check(
    recipes: Annotated[list[Path], typer.Argument(help="Recipe files.")],
    set: options.Overrides = None,
    allow_code: options.AllowCode = None,
    debug: options.Debug = False,
) -> None:
    """Find every mistake in recipes without importing torch.

    Bundles that it names are verified; data is not read. What a recipe leaves out of the input of a
    torchvision or timm model is looked up and printed; that takes a few seconds.
    """
    del debug, allow_code
    from squeeze.api.check import check_recipe
    from squeeze.cli import console
    from squeeze.core.errors import RecipeError

    problems: list[Problem] = []
    for path in recipes:
        checked = check_recipe(path, tuple(set or ()))
        problems += checked.problems
        if not checked.problems:
            console.out(f"{path}: ok" + (f"\n  {checked.note}" if checked.note else ""))
    if problems:
        raise RecipeError(problems)
