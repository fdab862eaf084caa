"""The default objective of a training: the task's loss."""

import math
from typing import TYPE_CHECKING

from squeeze.core.errors import InputError, SqueezeError
from squeeze.recipe.schema import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from squeeze.tasks.base import Labels, ModuleOutputs, Task

    Objective = Callable[[Tensor, ModuleOutputs, Labels], Tensor]
    """Images, outputs and labels to a scalar loss. Labels are classes ``(n,)``, shares
    ``(n, classes)`` when the images are mixed, or a list of ``Boxes``."""

_ONE_VALUE = "Expected more than 1 value per channel"


def of_task(task: "Task", settings: TrainSettings) -> "Objective":
    """Return the task's own loss with the recipe's label smoothing and focal exponent."""

    def loss(images: "Tensor", outputs: "ModuleOutputs", labels: "Labels") -> "Tensor":
        del images
        return task.loss(
            outputs,
            labels,
            label_smoothing=settings.label_smoothing,
            focal_gamma=settings.focal_gamma,
        )

    return loss


def run(
    forward: "Callable[[Tensor], ModuleOutputs]", images: "Tensor", where: str
) -> "ModuleOutputs":
    """Run the model in train mode.

    Raises:
        InputError: A BatchNorm has one value per channel: one image, one pixel.
    """
    try:
        return forward(images)
    except ValueError as error:
        if _ONE_VALUE not in str(error):
            raise
        raise InputError(
            f"a BatchNorm layer sees one value per channel in a batch of {len(images)}, "
            "and a single value has no variance",
            where=where,
            hint="set batch_size to 2 or more, with at least as many training samples, or freeze "
            "the layer",
        ) from error


def check_finite(losses: list[float], *, epoch: int, first: int, where: str, hint: str) -> None:
    """Raise at the first loss that is not a number.

    Args:
        losses: Of some steps in a row.
        epoch: Counted from 1.
        first: Number of the first of the steps in its epoch, from 1.
        where: What messages call the training.
        hint: What to do.

    Raises:
        SqueezeError: With epoch and step.
    """
    for step, value in enumerate(losses, start=first):
        if not math.isfinite(value):
            raise SqueezeError(
                f"the loss became {value} in epoch {epoch}, step {step}", where=where, hint=hint
            )
