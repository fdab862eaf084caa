"""Train the baseline of a recipe alone, and save it as a bundle."""

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from squeeze.core.types import Silent
from squeeze.models.bundle import save
from squeeze.pipeline import trainings
from squeeze.store import UNFINISHED, new_folder, scratch
from squeeze.tasks import open_task

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from squeeze.core.types import Progress
    from squeeze.recipe.loaded import LoadedRecipe
    from squeeze.results import Epoch


@dataclass(frozen=True)
class TrainedBaseline:
    """A baseline that was trained and saved.

    Attributes:
        metric: Of the epochs' scores, such as ``top-1``.
        epochs: In order; one is kept.
    """

    metric: str
    epochs: "Sequence[Epoch]"

    @property
    def number(self) -> int:
        """Of the epoch that was kept, from 1."""
        return next(number for number, epoch in enumerate(self.epochs, start=1) if epoch.kept)

    @property
    def kept(self) -> "Epoch":
        """The epoch whose weights were saved."""
        return self.epochs[self.number - 1]


def train_recipe(loaded: "LoadedRecipe", bundle: "Path", progress: "Progress") -> TrainedBaseline:
    """Train a recipe's baseline and save it; an interrupted training is resumed.

    Args:
        loaded: A checked recipe with a ``baseline.train`` block.
        bundle: The new bundle's folder; checkpoints lie beside it until the end.
        progress: Where progress goes.

    Raises:
        InputError: The folder exists or cannot be written.
        SqueezeError: The loss became NaN or infinite.
    """
    with new_folder(bundle):
        pass  # a place that cannot be written is reported before the training, not after it
    bundle.rmdir()
    unfinished = bundle.with_name(bundle.name + UNFINISHED)
    model, epochs = trainings.train_baseline(loaded, progress, unfinished)
    save(model, bundle)
    shutil.rmtree(unfinished, ignore_errors=True)
    return TrainedBaseline(open_task(loaded.recipe.task, model.input).METRIC, epochs)


def follow(loaded: "LoadedRecipe") -> None:
    """Take part in the training that another process leads, and leave nothing."""
    with scratch() as folder:
        trainings.train_baseline(loaded, Silent(), folder / "unfinished")
