"""A recipe's trainings: their names, a preview of their images, and training the baseline alone."""

from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.core.errors import InputError, unknown_name
from squeeze.core.types import Progress
from squeeze.models import blocks, types
from squeeze.pipeline import models
from squeeze.pipeline.models import BASELINE, baseline_key
from squeeze.pipeline.opening import open_data, opened, with_input
from squeeze.pipeline.steps import RunContext
from squeeze.recipe.loaded import LoadedRecipe
from squeeze.recipe.schema import DistillStep, QatStep, Recipe, TrainSettings
from squeeze.results import Epoch
from squeeze.store import RunFolder, prepare_checkpoints
from squeeze.training.checkpoint import Checkpoints
from squeeze.training.preview import contact_sheet

if TYPE_CHECKING:
    from PIL.Image import Image


def trainings(recipe: Recipe) -> dict[str, TrainSettings]:
    """Return every training of a recipe by its model's name."""
    found = {} if recipe.baseline is None else {BASELINE: recipe.baseline.train}
    for number, step in enumerate(recipe.steps, start=1):
        settings = (
            step if isinstance(step, DistillStep | QatStep) else getattr(step, "finetune", None)
        )
        if settings is not None:
            found[f"{number}-{step.method}"] = settings
    return found


def preview(loaded: LoadedRecipe, training: str | None, images: int, progress: Progress) -> "Image":
    """Draw the first images of a training; the first training of the recipe when None.

    Raises:
        InputError: The recipe has no such training, or trains nothing.
    """
    recipe = loaded.recipe
    known = trainings(recipe)
    if training not in {None, *known} or not known:
        what = unknown_name("training", training, known) if known and training else "trains nothing"
        raise InputError(what, where=recipe.name)
    model = blocks.build(recipe.model, loaded.folder)
    data = open_data(loaded, model, progress)
    if data.train is None:
        raise InputError("has no data.train", where=recipe.name)
    settings = known[training or next(iter(known))]
    return contact_sheet(data.train, settings, seed=recipe.seed, images=images)


def train_baseline(
    loaded: LoadedRecipe, progress: Progress, unfinished: Path
) -> tuple[types.Model, list[Epoch]]:
    """Train a recipe's baseline and nothing else; return it with its epochs.

    Args:
        loaded: A recipe with a ``baseline.train`` block.
        progress: Where bars and narration go.
        unfinished: Folder of the checkpoints, which the same training resumes from after a kill.

    Raises:
        InputError: The recipe trains no baseline, or another training is using the folder.
    """
    if loaded.recipe.baseline is None:
        raise InputError(
            "has no 'baseline: {train: …}' block, so there is nothing to train",
            where=loaded.recipe.name,
        )
    settings = loaded.recipe.baseline.train
    model, data, task = opened(loaded, progress)
    recipe = with_input(loaded.recipe, model)
    context = RunContext(recipe, loaded.folder, data, task, RunFolder(Path()), progress)
    key = baseline_key(model, context)
    checkpoints = Checkpoints(prepare_checkpoints(unfinished, key), key)
    return models.train_baseline(model, settings, context, checkpoints)
