"""Distillation: train the current model, or another one, to imitate a teacher."""

from dataclasses import replace
from typing import TYPE_CHECKING

from squeeze.core.errors import InputError
from squeeze.distillation.imitation import imitating
from squeeze.distillation.teacher_cache import TeacherCache, repeat
from squeeze.models.copying import copied
from squeeze.models.types import Model
from squeeze.recipe import losses as blocks
from squeeze.recipe.schema import DistillStep
from squeeze.results import Epoch
from squeeze.training import objective as objectives
from squeeze.training.inputs import Training
from squeeze.training.loop import train_

if TYPE_CHECKING:
    from torch import nn

    from squeeze.recipe.schema import InputSpec


def distill(
    student: Model, teacher: Model, step: DistillStep, training: Training
) -> tuple[Model, list[Epoch], list[str]]:
    """Return a trained copy of the student, its epochs, and which layers were paired.

    Neither model is changed.

    Raises:
        InputError: The teacher takes other inputs or has other classes; options, layer patterns or
            the batch size do not fit a loss.
    """
    import torch

    _check_inputs(student.input, teacher.input, training.train.spec)
    _check_batch(step, len(training.train))
    module = copied(student.module)
    guide = copied(teacher.module).eval().requires_grad_(requires_grad=False)
    _check_classes(module, guide, student.input)
    torch.manual_seed(training.seed)  # the losses' learned parts start from it
    with imitating(
        module,
        guide,
        step.losses,
        labels=objectives.of_task(training.task.of(module), step),
        label_weight=step.label_weight,
        shape=student.input.shape,
        cache=TeacherCache() if repeat(step) else None,
    ) as imitation:
        epochs = train_(module, step, training, imitation.objective, extra=imitation.extra)
    return replace(student, module=module), epochs, imitation.summary()


def _check_inputs(student: "InputSpec", teacher: "InputSpec", data: "InputSpec") -> None:
    for who, found in (("teacher", teacher), ("student", student)):
        for key in type(data).model_fields:
            own, other = getattr(found, key), getattr(data, key)
            if own != other:
                raise InputError(
                    f"takes images with input.{key} {own}, but the data is prepared with {other}",
                    where=who,
                    hint=f"leave {who}.input out to use the recipe's",
                )


def _check_classes(student: "nn.Module", teacher: "nn.Module", spec: "InputSpec") -> None:
    import torch

    example = torch.zeros(2, *spec.shape)
    with torch.inference_mode():
        found = [module.eval()(example) for module in (student, teacher)]
    shapes = [
        [tuple(part.shape[1:]) for part in ((x,) if torch.is_tensor(x) else x)] for x in found
    ]
    if len(shapes[0]) == len(shapes[1]) == 1 and shapes[0] != shapes[1]:
        own, other = (shape[0][0] for shape in shapes)
        raise InputError(f"has {other} outputs, the student has {own}", where="teacher")
    if shapes[0] != shapes[1]:
        own, other = (", ".join(map(str, shape)) for shape in shapes)
        raise InputError(
            f"returns outputs of shape {other}, the student {own}",
            where="teacher",
            hint="choose a teacher with the student's anchors and classes",
        )


def _check_batch(step: DistillStep, samples: int) -> None:
    batch = min(step.batch_size, samples)
    for block in step.losses:
        if batch < blocks.load(block).TRAITS.min_batch:
            raise InputError(blocks.too_few(block.name, batch), where="batch_size")
