"""Offsets to anchors: shifts of the centre in anchor sizes and logarithms of the sizes' ratios.

The best of every level go into suppression.

Source: Ren et al., Faster R-CNN, equation 2 (https://arxiv.org/abs/1506.01497); Lin et al., Focal
Loss for Dense Object Detection, section 4 (https://arxiv.org/abs/1708.02002).
"""

from typing import TYPE_CHECKING

from squeeze.core.detector import LARGEST_LOG
from squeeze.tasks.detection.decoders import base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from squeeze.core.detector import DetectorSpec


def boxes(regression: "Tensor", places: base.Places, spec: "DetectorSpec") -> "Tensor":
    """Return the boxes that the regression describes."""
    centres, sides = base.centre_size(places.anchors)
    found = regression.float() / regression.new_tensor(spec.box_weights, dtype=centres.dtype)
    grown = found[..., 2:].clamp(max=LARGEST_LOG).exp() * sides
    return base.corners(found[..., :2] * sides + centres, grown)


def regression(boxes: "Tensor", places: base.Places, spec: "DetectorSpec") -> "Tensor":
    """Return the regression that describes the boxes."""
    import torch

    centres, sides = base.centre_size(places.anchors)
    middles, widths = base.centre_size(boxes)
    shifts = (middles - centres) / sides
    found = torch.cat([shifts, (widths / sides).log()], dim=-1)
    return found * boxes.new_tensor(spec.box_weights)


def candidates(
    outputs: "Sequence[Tensor]", places: base.Places, spec: "DetectorSpec"
) -> list[base.Candidates]:
    """Return the best of every level."""
    found = []
    for scores, own in zip(base.probabilities(outputs, spec), outputs[1], strict=True):
        chosen, classes, kept = base.best_of_levels(scores, places.counts, spec)
        decoded = boxes(own[chosen], places.take(chosen), spec)
        found.append(base.Candidates(base.clip(decoded, places.size), kept, classes))
    return found
