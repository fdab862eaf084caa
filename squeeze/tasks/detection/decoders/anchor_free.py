"""Distances from a point to the four sides of a box, in units of the point's anchor.

With a third output the score is the geometric mean of class probability and centerness.

Source: Tian et al., FCOS: A Simple and Strong Anchor-free Object Detector, sections 3.1 and 3.3
(https://arxiv.org/abs/2006.09214).
"""

from typing import TYPE_CHECKING

from squeeze.core.detector import LARGEST_LOG
from squeeze.tasks.detection.decoders import base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from squeeze.core.detector import DetectorSpec

_SHORTEST = 1e-3
"""In anchor sizes: shorter distances have no logarithm that a network could learn."""


def boxes(regression: "Tensor", places: base.Places, spec: "DetectorSpec") -> "Tensor":
    """Return the boxes that the regression (left, top, right, bottom) describes."""
    import torch

    centres, sides = base.centre_size(places.anchors)
    found = regression.float()
    if spec.distances == "exp":
        found = found.clamp(max=LARGEST_LOG).exp()
    return torch.cat([centres - found[..., :2] * sides, centres + found[..., 2:] * sides], dim=-1)


def regression(boxes: "Tensor", places: base.Places, spec: "DetectorSpec") -> "Tensor":
    """Return the distances from the anchors' centres to the boxes' sides, or their logarithms.

    A point outside its box has negative distances, which have no logarithm: they are raised.
    """
    found = sides(boxes, places)
    return found.clamp(min=_SHORTEST).log() if spec.distances == "exp" else found


def sides(boxes: "Tensor", places: base.Places) -> "Tensor":
    """Return the distances from the points to the boxes' left, top, right and bottom, in anchors.

    Args:
        boxes: xyxy ``(n, 4)``.
        places: One for each box.
    """
    import torch

    centres, own = base.centre_size(places.anchors)
    found = torch.cat([centres - boxes[..., :2], boxes[..., 2:] - centres], dim=-1)
    return found / torch.cat([own, own], dim=-1)


def candidates(
    outputs: "Sequence[Tensor]", places: base.Places, spec: "DetectorSpec"
) -> list[base.Candidates]:
    """Return the best of every level."""
    every = base.probabilities(outputs, spec)
    if spec.quality:
        every = (every * outputs[2].float().sigmoid()).sqrt()
    found = []
    for scores, own in zip(every, outputs[1], strict=True):
        chosen, classes, kept = base.best_of_levels(scores, places.counts, spec)
        decoded = boxes(own[chosen], places.take(chosen), spec)
        found.append(base.Candidates(base.clip(decoded, places.size), kept, classes))
    return found
