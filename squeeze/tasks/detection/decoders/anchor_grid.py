"""YOLO: a centre inside its cell and a size relative to an anchor, with objectness.

``distances: exp`` is YOLOv3's rule, ``linear`` that of YOLOv5 and later: centres from half a cell
outside to half a cell outside, sizes up to four times the anchor.

Source: Redmon and Farhadi, YOLOv3: An Incremental Improvement, section 2.1
(https://arxiv.org/abs/1804.02767).
"""

from typing import TYPE_CHECKING

from squeeze.core.detector import LARGEST_LOG
from squeeze.tasks.detection.decoders import base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from squeeze.core.detector import DetectorSpec

_INSIDE = 1e-4
"""Shares this close to 0 or 1 have no logit that a network could learn."""


def boxes(regression: "Tensor", places: base.Places, spec: "DetectorSpec") -> "Tensor":
    """Return the boxes that the regression describes."""
    centres, sides = base.centre_size(places.anchors)
    found = regression.float()
    share, strides = found[..., :2].sigmoid(), places.strides
    if spec.distances == "exp":
        grown = found[..., 2:].clamp(max=LARGEST_LOG).exp()
    else:
        share = 2 * share - 0.5
        grown = (2 * found[..., 2:].sigmoid()) ** 2
    return base.corners(centres + (share - spec.offset) * strides, grown * sides)


def regression(boxes: "Tensor", places: base.Places, spec: "DetectorSpec") -> "Tensor":
    """Return the regression that describes the boxes; what the rule cannot reach is cut off."""
    import torch

    centres, sides = base.centre_size(places.anchors)
    middles, widths = base.centre_size(boxes)
    share = (middles - centres) / places.strides + spec.offset
    ratio = widths / sides
    if spec.distances == "exp":
        return torch.cat([share.logit(_INSIDE), ratio.log()], dim=-1)
    halves = torch.cat([(share + 0.5) / 2, ratio.sqrt() / 2], dim=-1)
    return halves.logit(_INSIDE)


def candidates(
    outputs: "Sequence[Tensor]", places: base.Places, spec: "DetectorSpec"
) -> list[base.Candidates]:
    """Return the best of every level, scored by objectness times class probability."""
    every = base.probabilities(outputs, spec)
    if spec.quality:
        every = every * outputs[2].float().sigmoid()
    found = []
    for scores, own in zip(every, outputs[1], strict=True):
        chosen, classes, kept = base.best_of_levels(scores, places.counts, spec)
        decoded = boxes(own[chosen], places.take(chosen), spec)
        found.append(base.Candidates(base.clip(decoded, places.size), kept, classes))
    return found
