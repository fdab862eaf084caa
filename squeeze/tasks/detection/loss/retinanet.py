"""Anchors learn the boxes that they overlap: focal loss for classes, L1 for offsets.

Source: Lin et al., Focal Loss for Dense Object Detection, sections 3 and 4
(https://arxiv.org/abs/1708.02002).
"""

from typing import TYPE_CHECKING

from squeeze.tasks.detection.decoders import retinanet
from squeeze.tasks.detection.loss import assignment, base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from squeeze.core.detector import DetectorSpec
    from squeeze.tasks.detection.decoders.base import Places

_ABOVE, _BELOW = 0.5, 0.4


def loss(
    outputs: "Sequence[Tensor]",
    targets: "Sequence[base.Targets]",
    places: "Places",
    spec: "DetectorSpec",
) -> "Tensor":
    """Return the mean over images of class and box terms, each per matched anchor."""
    from torch.nn import functional
    from torchvision.ops import sigmoid_focal_loss

    total = outputs[0].new_zeros(())
    for number, target in enumerate(targets):
        logits, regression = outputs[0][number].float(), outputs[1][number].float()
        matched = assignment.by_overlap(
            target.boxes, places.anchors, above=_ABOVE, below=_BELOW, best_always=True
        )
        base.ignore_(matched, target, places)
        known, positive = matched != base.IGNORED, matched >= 0
        truth = base.one_hot(matched, target, logits.shape[1])
        classes = sigmoid_focal_loss(logits[known], truth[known], reduction="sum")
        wanted = target.boxes[matched[positive]]
        offsets = retinanet.regression(wanted, places.take(positive), spec)
        boxes = functional.l1_loss(regression[positive], offsets, reduction="sum")
        total = total + (classes + boxes) / max(1, int(positive.sum()))
    return total / max(1, len(targets))
