"""Find every mistake in a recipe without importing torch."""

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from squeeze.core import plugins, tasks
from squeeze.core.errors import EXIT_INPUT, InputError, Problem, RecipeError, unknown_name
from squeeze.models.pretrained_input import complete_saved
from squeeze.models.reference import is_transformers_folder
from squeeze.recipe import bundles, records
from squeeze.recipe.load import load_recipe
from squeeze.recipe.plan import check as check_plan
from squeeze.recipe.schema import LIBRARIES
from squeeze.store import checksums

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from squeeze.recipe.loaded import LoadedRecipe

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
"""Asks a library for the input of a model, in a process of its own, which imports it."""


@dataclass(frozen=True)
class RecipeCheck:
    """What was found out about a recipe.

    Attributes:
        problems: Every mistake; none of a recipe that can be run.
        note: What was taken from the model's library for its input.
    """

    problems: tuple[Problem, ...]
    note: str = ""


def check_recipe(path: "Path", overrides: "Sequence[str]" = ()) -> RecipeCheck:
    """Check a recipe, and verify the bundles that it names; data is not read.

    Args:
        path: The YAML file.
        overrides: ``path.to.key=value`` strings.
    """
    damage: list[Problem] = []
    try:
        loaded = load_recipe(path, overrides)
        check_plan(loaded)
        damage += _bundle_problems(loaded)
        return RecipeCheck(tuple(damage), _library_input(loaded))
    except RecipeError as error:
        return RecipeCheck((*damage, *error.problems))


def _bundle_problems(loaded: "LoadedRecipe") -> "Iterator[Problem]":
    """Yield what is wrong with the bundles that a recipe names: damage, or unknown adapters."""
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


def _library_input(loaded: "LoadedRecipe") -> str:
    """Return what the model's library says of the input that a recipe leaves out.

    Raises:
        RecipeError: It does not know the model.
    """
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
