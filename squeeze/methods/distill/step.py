"""Distillation: train the current model to imitate a teacher."""

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from squeeze.core import plugins
from squeeze.core.errors import InputError
from squeeze.methods.training.loop import Epoch, Training, train_
from squeeze.recipe.schema import DistillStep
from squeeze.sources.models import Model

if TYPE_CHECKING:
    from torch import Tensor


def distill(
    student: Model, teacher: Model, step: DistillStep, training: Training
) -> tuple[Model, list[Epoch]]:
    """Return a trained copy of the student, and its epochs.

    Raises:
        InputError: The teacher takes other inputs or knows other classes.
    """
    import torch

    _check_teacher(student, teacher)
    module = copy.deepcopy(student.module)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    guide = copy.deepcopy(teacher.module).eval().to(device).requires_grad_(requires_grad=False)
    losses = [
        (block.weight, plugins.load(plugins.LOSSES, block.name).build(block))
        for block in step.losses
    ]

    def objective(images: "Tensor", outputs: "Tensor", labels: "Tensor") -> "Tensor":
        with torch.no_grad():
            goal = guide(images)
        total = step.label_weight * training.task.loss(
            outputs, labels, label_smoothing=step.label_smoothing
        )
        for weight, loss in losses:
            total = total + weight * loss(outputs, goal, labels)
        return total

    epochs = train_(module, step, training, objective)
    return replace(student, module=module), epochs


def _check_teacher(student: Model, teacher: Model) -> None:
    import torch

    if teacher.input.shape != student.input.shape:
        raise InputError(
            f"takes {teacher.input.shape}, the student {student.input.shape}", where="teacher"
        )
    example = torch.zeros(2, *student.input.shape)
    with torch.inference_mode():
        own, other = (m.module.eval()(example).shape[1] for m in (student, teacher))
    if own != other:
        raise InputError(f"has {other} outputs, the student {own}", where="teacher")
