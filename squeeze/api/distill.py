"""``squeeze.distill``."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from squeeze.api.data import given_data
from squeeze.api.inputs import block_of, detector_of, model_of
from squeeze.api.progress import chosen
from squeeze.api.results import TrainResult
from squeeze.api.train import batch_size
from squeeze.api.training import Sets, training
from squeeze.core.errors import InputError
from squeeze.distillation import step as distillation
from squeeze.recipe import losses as checks
from squeeze.recipe.schema import DistillStep

if TYPE_CHECKING:
    from squeeze.api.data import DataLike
    from squeeze.api.inputs import Example, ModelLike
    from squeeze.core.types import Progress

_ARGUMENTS = ("teacher", "student")


def distill(
    student: "ModelLike",
    teacher: "ModelLike",
    data: "DataLike",
    *,
    validation: "DataLike",
    epochs: int,
    losses: Sequence[str | Mapping[str, object]] | None = None,
    lr: float | None = None,
    settings: Mapping[str, object] | None = None,
    example: "Example | None" = None,
    seed: int = 0,
    progress: "Progress | bool | None" = None,
) -> TrainResult:
    """Train a copy of a model to imitate another one.

    Args:
        student: A module in any mode, a result, or a bundle's folder; it stays as it is.
        teacher: The same, in eval mode; it takes the same images and knows the same classes.
        data: Labelled images to learn from; the batch size is a loader's, unless the settings say
            it.
        validation: Labelled images that are watched after every epoch, and never learned from.
        epochs: Passes through the data, at least 1.
        losses: Names of losses, or their blocks in a recipe: ``["kd", {"name": "at", "weight":
            10}]``; ``kd`` when left out.
        lr: Peak learning rate; 0.05 when left out.
        settings: Any other key of a recipe's distill step, ``{"label_weight": 0.5}`` for example.
        example: As for ``prune``; needed where neither student nor data tells the input.
        seed: Of the order of samples, of augmentation and of the losses' learned parts.
        progress: True, False, an object of your own, or None: shown in terminals and notebooks.

    Returns:
        The trained student in eval mode, its epochs, and which layers were paired.

    Raises:
        InputError: Wrong use: no data, a teacher in training mode or of other classes, an unknown
            loss, layers that do not fit.
        SqueezeError: The loss became NaN or infinite.

    Example:
        >>> squeeze.distill(smaller, model, train_loader, validation=val_loader, epochs=3)
    """
    read, shown = given_data(data, "train"), chosen(progress)
    block = _block(epochs, lr, losses, settings, read.batch_size)
    pupil = model_of(student, example, shape=read.shape, trains=True, where="student")
    guide = model_of(teacher, pupil.input, where="teacher")
    task = "classification" if detector_of(pupil) is None else "detection"
    for loss in block.losses:
        for path, what in checks.mistakes(loss, block.batch_size, task):
            raise InputError(what, where=".".join(map(str, ("distill: losses", *path))))
    sets = Sets.of(pupil, read, validation, seed, shown)
    done, history, notes = distillation.distill(pupil, guide, block, training(sets, "distillation"))
    return TrainResult(done, tuple(history), (*notes, *sets.train.notes))


def _block(
    epochs: int,
    lr: float | None,
    losses: "Sequence[str | Mapping[str, object]] | None",
    settings: Mapping[str, object] | None,
    of_loader: int | None,
) -> DistillStep:
    named = None
    if losses is not None:
        if isinstance(losses, str | Mapping):
            raise InputError(f"found {losses!r}, expected a list of losses", where="losses")
        named = [{"name": loss} if isinstance(loss, str) else loss for loss in losses]
    for key in _ARGUMENTS:
        if key in (settings or {}):
            raise InputError(f"{key} is an argument of its own", where="distill: settings")
    given = {
        "epochs": epochs,
        "lr": lr,
        "losses": named,
        "batch_size": batch_size(of_loader, settings),
    }
    return block_of(DistillStep, given, settings, "distill")
