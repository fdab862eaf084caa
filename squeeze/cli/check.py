"""``squeeze check``."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import options

if TYPE_CHECKING:
    from squeeze.recipe.load import LoadedRecipe


def check(
    recipes: Annotated[list[Path], typer.Argument(help="Recipe files.")],
    set: options.Overrides = None,
    allow_code: options.AllowCode = None,
    debug: options.Debug = False,
) -> None:
    """Find every mistake in recipes without importing torch or reading data.

    What a recipe leaves out of the input of a torchvision or timm model is printed; looking it up
    in a process of its own takes some seconds.
    """
    del debug, allow_code
    from squeeze.cli import console
    from squeeze.core.errors import Problem, RecipeError
    from squeeze.recipe.load import load_recipe
    from squeeze.recipe.plan import check as check_plan

    problems: list[Problem] = []
    for path in recipes:
        try:
            loaded = load_recipe(path, tuple(set or ()))
            check_plan(loaded)
            told = _library_input(loaded)
            console.out(f"{path}: ok" + (f"\n  {told}" if told else ""))
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError(problems)


_LOOK_UP = """
import sys
from squeeze.core.errors import InputError
from squeeze.models import pretrained_input
try:
    print(pretrained_input.of_block(*sys.argv[1:]))
except InputError as error:
    print(error, file=sys.stderr)
    raise SystemExit(2)
"""


def _library_input(loaded: "LoadedRecipe") -> str:
    """Return what the model's library says of the input that a recipe leaves out.

    Raises:
        RecipeError: It does not know the model.
    """
    from squeeze.core import tasks
    from squeeze.core.errors import EXIT_INPUT, Problem, RecipeError
    from squeeze.models.pretrained_input import complete_saved
    from squeeze.models.reference import is_transformers_folder
    from squeeze.recipe.schema import LIBRARIES

    block = loaded.recipe.model
    given, folder = block.input, loaded.folder / (block.stored_weights or "")
    if given is not None and block.build is None and is_transformers_folder(folder):
        _, note = complete_saved(given, folder)
        return f"model.input: {note}" if note else ""
    if not (block.build or "").startswith(LIBRARIES) or (given and given.is_complete):
        return ""
    boxes = tasks.spec_of(loaded.recipe.task).labels == "boxes"
    if given and boxes and not given.left_out & {"mean", "std"}:
        return ""  # detectors tell nothing else
    call = [sys.executable, "-P", "-c", _LOOK_UP, block.model_dump_json(exclude_unset=True)]
    done = subprocess.run(  # noqa: S603  (this interpreter, and no shell)
        [*call, str(loaded.folder)], capture_output=True, text=True, check=False
    )
    if done.returncode == EXIT_INPUT:
        raise RecipeError([Problem(loaded.source.where(("model",)), done.stderr.strip())])
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        return f"model.input: what is left out is its library's, which cannot be asked here: {last}"
    return done.stdout.strip()
