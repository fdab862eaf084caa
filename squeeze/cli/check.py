"""``squeeze check``."""

from pathlib import Path
from typing import Annotated

import typer

from squeeze.cli import options


def check(
    recipes: Annotated[list[Path], typer.Argument(help="Recipe files.")],
    set: options.Overrides = None,
    debug: options.Debug = False,
) -> None:
    """Find every mistake in recipes without importing torch or reading data."""
    del debug
    from squeeze.cli import console
    from squeeze.core.errors import Problem, RecipeError
    from squeeze.recipe.load import load_recipe
    from squeeze.recipe.plan import check as check_plan

    problems: list[Problem] = []
    for path in recipes:
        try:
            check_plan(load_recipe(path, tuple(set or ())))
            console.out(f"{path}: ok")
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError(problems)
