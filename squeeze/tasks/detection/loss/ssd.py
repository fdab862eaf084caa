"""Default boxes learn the objects that they overlap; three of the worst negatives for each.

Source: Liu et al., SSD: Single Shot MultiBox Detector, section 2.2
(https://arxiv.org/abs/1512.02325).
"""

from typing import TYPE_CHECKING

from squeeze.tasks.detection.decoders import retinanet
from squeeze.tasks.detection.loss import assignment, base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from squeeze.core.detector import DetectorSpec
    from squeeze.tasks.detection.decoders.base import Places

_ABOVE = 0.5
_NEGATIVES = 3


def loss(
    outputs: "Sequence[Tensor]",
    targets: "Sequence[base.Targets]",
    places: "Places",
    spec: "DetectorSpec",
) -> "Tensor":
    """Return class and box terms of the batch, per matched default box."""
    import torch
    from torch.nn import functional

    total, count = outputs[0].new_zeros(()), 0
    background = 0 if spec.background is None else spec.background
    for number, target in enumerate(targets):
        logits, regression = outputs[0][number].float(), outputs[1][number].float()
        matched = assignment.each_box_first(target.boxes, places.anchors, _ABOVE)
        base.ignore_(matched, target, places)
        positive = matched >= 0
        count += int(positive.sum())
        truth = torch.full_like(matched, background)
        truth[positive] = target.columns[matched[positive]]
        each = functional.cross_entropy(logits, truth, reduction="none")
        total = total + each[positive].sum() + _worst(each, matched).sum()
        wanted = target.boxes[matched[positive]]
        offsets = retinanet.regression(wanted, places.take(positive), spec)
        total = total + functional.smooth_l1_loss(regression[positive], offsets, reduction="sum")
    return total / max(1, count)


def _worst(each: "Tensor", matched: "Tensor") -> "Tensor":
    """Return the largest losses of the background, three for every matched place."""
    negatives = each[matched == base.BACKGROUND]
    wanted = _NEGATIVES * int((matched >= 0).sum())
    return negatives.topk(min(wanted, len(negatives))).values
