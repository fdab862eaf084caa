"""Feature imitation with masks from boxes: the focal part of Focal and Global Distillation.

A map's places inside annotated boxes and those outside are imitated apart, each box counting the
same whatever its size, and both where and in which channels the teacher looks. The student is also
pulled towards the teacher's attention. The part that relates places to one another (the global one)
is left out.

Source: Yang et al., Focal and Global Knowledge Distillation for Detectors, equations 2 to 9
(https://arxiv.org/abs/2111.11837).
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import Traits, Views
from squeeze.recipe.schema import Block, NonNegative, Positive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from squeeze.core.boxes import Boxes
    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="maps", weight=1.0, task="detection")


class Options(Block):
    """Weights of the parts, as in the paper.

    The paper's weights are for sums over channels of 256 and maps of its size; here both parts are
    means over channels, so that they do not depend on the width.

    Attributes:
        foreground: Weight of what is inside boxes.
        background: Weight of what is outside.
        attention: Weight of the teacher's attention.
        temperature: Less sharpens the attention.
    """

    foreground: NonNegative = 1.0
    background: NonNegative = 0.5
    attention: NonNegative = 0.1
    temperature: Positive = 0.5


def build(options: Options, student: Views, teacher: Views) -> "Term":
    """Return the loss, with an adapter for every pair whose channels differ."""
    from squeeze.distillation import parts

    adapters = [
        parts.channel_adapter(own.shape[1], goal.shape[1])
        for own, goal in zip(student.maps, teacher.maps, strict=True)
    ]

    def compute(student: Views, teacher: Views, labels: "Sequence[Boxes]") -> "Tensor":
        total = student.logits.new_zeros(())
        size = (student.images.shape[2], student.images.shape[3])
        for adapter, own, goal in zip(adapters, student.maps, teacher.maps, strict=True):
            total = total + _focal(adapter(own), goal, _masks(labels, goal, size), options)
        return total / len(adapters)

    return parts.Term(compute, *adapters)


def _focal(
    own: "Tensor", goal: "Tensor", masks: "tuple[Tensor, Tensor]", options: Options
) -> "Tensor":
    """Return the loss of one map ``(N, C, H, W)``."""
    inside, outside = masks
    where, which = _attention(goal, options.temperature)
    own_where, own_which = _attention(own, options.temperature)
    weighted = (where * which * (own - goal) ** 2).mean(dim=1)
    imitation = (options.foreground * inside + options.background * outside) * weighted
    looks = (own_where - where).abs().mean() + (own_which - which).abs().mean()
    return imitation.sum(dim=(1, 2)).mean() + options.attention * looks


def _attention(maps: "Tensor", temperature: float) -> "tuple[Tensor, Tensor]":
    """Return where ``(N, 1, H, W)`` and in which channels ``(N, C, 1, 1)`` it looks; means are 1.

    Source: equations 4 to 7.
    """
    count, channels, height, width = maps.shape
    size = maps.abs()
    spatial = (size.mean(dim=1).flatten(1) / temperature).softmax(dim=1) * height * width
    by_channel = (size.mean(dim=(2, 3)) / temperature).softmax(dim=1) * channels
    return (
        spatial.reshape(count, 1, height, width),
        by_channel.reshape(count, channels, 1, 1),
    )


def _masks(
    labels: "Sequence[Boxes]", maps: "Tensor", size: tuple[int, int]
) -> "tuple[Tensor, Tensor]":
    """Return the weights of places in boxes and out of them ``(N, H, W)``; each sums to about 1.

    A place in several boxes belongs to the smallest. Equations 2 and 3, with the weights of the
    boxes divided by their number.
    """
    import torch

    count, _, height, width = maps.shape
    inside = maps.new_zeros(count, height, width)
    for number, boxes in enumerate(labels):
        corners = boxes.xyxy[~boxes.ignored]
        areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
        for corner in corners[(-areas).argsort()].tolist():  # the smallest is painted last
            x1, x2 = (round(corner[i] * width / size[1]) for i in (0, 2))
            y1, y2 = (round(corner[i] * height / size[0]) for i in (1, 3))
            x1, y1 = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
            x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
            patch = inside[number, y1:y2, x1:x2]
            patch[:] = 1.0 / patch.numel() / len(corners)
    outside = (inside == 0).to(maps.dtype)
    return inside, outside / torch.clamp(outside.sum(dim=(1, 2), keepdim=True), min=1.0)
