"""``squeeze.train``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from squeeze.api.data import given_data
from squeeze.api.inputs import block_of, model_of
from squeeze.api.progress import chosen
from squeeze.api.results import TrainResult
from squeeze.api.training import Sets, training
from squeeze.recipe.schema import TrainSettings
from squeeze.training.loop import train_

if TYPE_CHECKING:
    from squeeze.api.data import DataLike
    from squeeze.api.inputs import Example, ModelLike
    from squeeze.core.types import Progress


def train(
    model: "ModelLike",
    data: "DataLike",
    *,
    validation: "DataLike",
    epochs: int,
    lr: float | None = None,
    settings: Mapping[str, object] | None = None,
    example: "Example | None" = None,
    seed: int = 0,
    progress: "Progress | bool | None" = None,
) -> TrainResult:
    """Train a copy of a model on labelled images.

    Args:
        model: A module in any mode, a result, or a bundle's folder; it stays as it is.
        data: Labelled images to learn from; the batch size is a loader's, unless the settings say
            it.
        validation: Labelled images that are watched after every epoch, and never learned from.
        epochs: Passes through the data, at least 1.
        lr: Peak learning rate; 0.05 when left out.
        settings: Any other key of a recipe's training, ``{"optimizer": "adamw", "keep": "best"}``
            for example.
        example: As for ``prune``; needed where neither model nor data tells the input.
        seed: Of the order of samples, and of augmentation.
        progress: True, False, an object of your own, or None: shown in terminals and notebooks.

    Returns:
        The trained model in eval mode, and its epochs.

    Raises:
        InputError: Wrong use: no data, sets that share samples, labels that the model does not
            know, settings out of range.
        SqueezeError: The loss became NaN or infinite.

    Example:
        >>> squeeze.train(smaller, train_loader, validation=val_loader, epochs=3).epochs[-1].score
        0.972
    """
    read, shown = given_data(data, "train"), chosen(progress)
    given = {"epochs": epochs, "lr": lr, "batch_size": batch_size(read.batch_size, settings)}
    block = block_of(TrainSettings, given, settings, "train")
    model_copy = model_of(model, example, shape=read.shape, trains=True)
    sets = Sets.of(model_copy, read, validation, seed, shown)
    history = train_(model_copy.module, block, training(sets, "training"))
    return TrainResult(model_copy, tuple(history), sets.train.notes)


def batch_size(of_loader: int | None, settings: Mapping[str, object] | None) -> int | None:
    """Return a loader's batch size, unless the settings have one."""
    return None if "batch_size" in (settings or {}) else of_loader
