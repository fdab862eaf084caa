"""Queries: centre, width and height as shares of the input, no anchors and no suppression.

With a background (DETR) every query names its likeliest class; without (RT-DETR) the best pairs of
query and class count.

Source: Carion et al., End-to-End Object Detection with Transformers, section 3
(https://arxiv.org/abs/2005.12872).
"""

from typing import TYPE_CHECKING

from squeeze.tasks.detection.decoders import base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from squeeze.core.detector import DetectorSpec


def boxes(regression: "Tensor", places: base.Places, spec: "DetectorSpec") -> "Tensor":
    """Return the boxes that the regression describes."""
    del spec
    found = regression.float() * _unit(regression, places)
    return base.corners(found[..., :2], found[..., 2:])


def regression(boxes: "Tensor", places: base.Places, spec: "DetectorSpec") -> "Tensor":
    """Return the shares that describe the boxes."""
    import torch

    del spec
    return torch.cat(base.centre_size(boxes), dim=-1) / _unit(boxes, places)


def candidates(
    outputs: "Sequence[Tensor]", places: base.Places, spec: "DetectorSpec"
) -> list[base.Candidates]:
    """Return the likeliest class of every query, or the best pairs of query and class."""
    found = []
    decoded = base.clip(boxes(outputs[1], places, spec), places.size)
    for scores, own in zip(base.probabilities(outputs, spec), decoded, strict=True):
        if spec.background is None:
            chosen, classes, kept = base.best_of_levels(scores, (len(scores),), spec)
            found.append(base.Candidates(own[chosen], kept, classes))
            continue
        kept, classes = scores.max(dim=1)
        passing = kept > spec.score_threshold
        found.append(base.Candidates(own[passing], kept[passing], classes[passing]))
    return found


def _unit(like: "Tensor", places: base.Places) -> "Tensor":
    height, width = places.size
    return like.new_tensor([width, height, width, height]).float()
