"""Open the model, the data and the folder of a run, and refuse what cannot work."""

from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from squeeze.core import permission
from squeeze.core.errors import InputError
from squeeze.core.journal import Journal
from squeeze.core.types import Progress
from squeeze.data import sets
from squeeze.models import blocks, types
from squeeze.quantization.keep_float import layers
from squeeze.recipe import bundles, plan
from squeeze.recipe.loaded import LoadedRecipe
from squeeze.recipe.schema import (
    DistillStep,
    PruneStep,
    QatStep,
    Quantization,
    QuantizeStep,
    Recipe,
    TrainSettings,
)
from squeeze.store import LOG, RunFolder
from squeeze.tasks import open_task
from squeeze.tasks.base import Task
from squeeze.tasks.detection import nms_file
from squeeze.training import distributed, parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
R = TypeVar("R")


def checked(
    stage: "Callable[Concatenate[LoadedRecipe, P], R]",
) -> "Callable[Concatenate[LoadedRecipe, P], R]":
    """Refuse a recipe with mistakes; let the bundles of a run call the factories that it names."""

    @wraps(stage)
    def inside(loaded: LoadedRecipe, /, *args: "P.args", **kwargs: "P.kwargs") -> "R":
        plan.check(loaded)
        with permission.allowing(bundles.factories(loaded), loaded.folder):
            return stage(loaded, *args, **kwargs)

    return inside


@contextmanager
def run_folder(output: Path, name: str, journal: Journal) -> "Iterator[RunFolder]":
    """Make a run's folder and keep its log for the duration of the block.

    An error that ends the block is logged. A folder in which nothing was finished is removed,
    unless its log explains a failure.

    Raises:
        SqueezeError: The folder was removed during the run.
    """
    folder = RunFolder.create(output, name)
    try:
        journal.open(folder.path / LOG)
        yield folder
    except BaseException as error:
        journal.failed(error)
        if isinstance(error, InputError | KeyboardInterrupt):
            folder.discard_if_empty()
        elif isinstance(error, Exception):
            folder.require()  # or that is why it failed
        raise
    finally:
        journal.close()
        folder.release()


def opened(loaded: LoadedRecipe, progress: Progress) -> tuple[types.Model, sets.Data, Task]:
    """Open the model and the data, and make sure that they fit."""
    for number, step in enumerate(loaded.recipe.steps):
        if distributed.size() > 1 and isinstance(step, PruneStep) and step.speedup is not None:
            raise InputError(
                "pruning by measured latency needs the machine to itself",
                where=f"steps.{number}.speedup",
                hint="run it in one process, or set a goal for macs, params or size",
            )
    model = built(loaded)
    for note in model.notes:
        progress.say(note)
    data = open_data(loaded, model, progress)
    model = model.fed(data.validation.spec).knowing(data.classes)
    task = open_task(loaded.recipe.task, model.input)
    task.check_model(model.module, model.input, len(data.classes))
    if any(target.nms for target in loaded.recipe.targets):
        nms_file.spec_of(model)
    _check_layers(loaded.recipe, model)
    return model, data, task.of(model.module)


def built(loaded: LoadedRecipe) -> types.Model:
    """Build the model; random weights are drawn by the recipe's seed."""
    import torch

    torch.manual_seed(loaded.recipe.seed)
    return blocks.build(loaded.recipe.model, loaded.folder)


def with_input(recipe: Recipe, model: types.Model) -> Recipe:
    """Return the recipe with the input as it is now known, in full."""
    block = recipe.model.model_copy(update={"input": model.input})
    return recipe.model_copy(update={"model": block})


def _check_layers(recipe: Recipe, model: types.Model) -> None:
    """Refuse patterns that name no layer before anything is trained."""
    if recipe.baseline is not None:
        _check_training(recipe.baseline.train, model, "baseline.train")
    rewritten = False
    for number, step in enumerate(recipe.steps):
        if isinstance(step, DistillStep) and step.student is not None:
            return  # the layers are going to be another model's
        if isinstance(step, QuantizeStep | QatStep):
            layers.matching(model.module, step.keep_float, where=f"steps.{number}.keep_float")
        rewritten |= isinstance(step, PruneStep)  # whose adapters may give layers other paths
        if isinstance(step, TrainSettings) and not rewritten:
            _check_training(step, model, f"steps.{number}")


def _check_training(settings: TrainSettings, model: types.Model, where: str) -> None:
    for key in ("freeze", "lr_scales"):
        parameters.matching(model.module, list(getattr(settings, key)), f"{where}.{key}")


def open_data(loaded: LoadedRecipe, model: types.Model, progress: Progress) -> sets.Data:
    """Open the sets that the recipe needs."""
    recipe = loaded.recipe
    trains = recipe.baseline is not None or any(
        isinstance(step, DistillStep | PruneStep | QatStep)
        or (isinstance(step, QuantizeStep) and step.mixed_precision is not None)
        for step in recipe.steps
    )
    calibrates = any(isinstance(step, Quantization) for step in recipe.steps)
    opening = sets.Opening(
        loaded.folder,
        model.input,
        recipe.seed,
        progress,
        model.module,
        model.architecture.classes,
    )
    return sets.open_data(recipe.data, opening, trains=trains, calibrates=calibrates)
