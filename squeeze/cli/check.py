"""``squeeze check``."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from squeeze.core.errors import Problem
    from squeeze.recipe.loaded import LoadedRecipe


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
    from squeeze.cli import console
    from squeeze.core.errors import Problem, RecipeError
    from squeeze.recipe.load import load_recipe
    from squeeze.recipe.plan import check as check_plan

    problems: list[Problem] = []
    for path in recipes:
        try:
            loaded = load_recipe(path, tuple(set or ()))
            check_plan(loaded)
            problems += (damage := list(_bundles(loaded)))
            note = _library_input(loaded)
            if not damage:
                console.out(f"{path}: ok" + (f"\n  {note}" if note else ""))
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError(problems)


def _bundles(loaded: "LoadedRecipe") -> "Iterator[Problem]":
    """Yield what is wrong with the bundles that a recipe names: damage, or unknown adapters."""
    from squeeze.core import plugins
    from squeeze.core.errors import InputError, Problem, unknown_name
    from squeeze.recipe import bundles, records
    from squeeze.store import checksums

    for path, block in bundles.named(loaded.recipe):
        folder = loaded.folder / (block.stored_weights or "")
        if block.stored_weights is None or not (folder / "architecture.json").is_file():
            continue
        where, place = loaded.source.where((*path, "weights")), ".".join(map(str, path))
        try:
            faults = list(checksums.faults(folder, checksums.read_sums(folder) or {}))
            adapters = records.read_mapping(folder / "architecture.json").get("adapters")
        except InputError as error:
            yield Problem(where, f"{place}.weights: {error}")
            continue
        known = plugins.names("squeeze.models.adapters")
        named = adapters if isinstance(adapters, list) else []
        faults += [unknown_name("adapter", str(one), known) for one in named if one not in known]
        for what in faults:
            yield Problem(where, f"{place}.weights: {block.weights}: {what}")


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
