"""The anchor whose cell holds a box's centre and whose shape fits best learns the box.

Source: Redmon and Farhadi, YOLOv3, section 2.1 (https://arxiv.org/abs/1804.02767), with the
generalised IoU for boxes (Rezatofighi et al., https://arxiv.org/abs/1902.09630).
"""

from typing import TYPE_CHECKING

from squeeze.tasks.detection.decoders import anchor_grid
from squeeze.tasks.detection.decoders.base import centre_size
from squeeze.tasks.detection.loss import base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from squeeze.core.detector import DetectorSpec
    from squeeze.tasks.detection.decoders.base import Places

_BOX_WEIGHT = 2.5
_FOUND = 0.5
"""A place that predicts a box of another place this well is not trained as background."""


def loss(
    outputs: "Sequence[Tensor]",
    targets: "Sequence[base.Targets]",
    places: "Places",
    spec: "DetectorSpec",
) -> "Tensor":
    """Return objectness, class and box terms of the batch, per box."""
    from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
    from torchvision.ops import box_iou, generalized_box_iou_loss

    total, count = outputs[0].new_zeros(()), 0
    for number, target in enumerate(targets):
        logits = outputs[0][number].float()
        predicted = anchor_grid.boxes(outputs[1][number], places, spec)
        matched = _best_shape(target.boxes, places, spec)
        positive = matched >= 0
        if len(target.boxes):
            good = box_iou(predicted.detach(), target.boxes).amax(dim=1) > _FOUND
            matched[good & ~positive] = base.IGNORED
        base.ignore_(matched, target, places)
        known = matched != base.IGNORED
        count += int(positive.sum())
        truth = base.one_hot(matched, target, logits.shape[1])
        if spec.quality:
            is_there = outputs[2][number].float()[:, 0]
            total = total + cross_entropy(is_there[known], positive[known].float(), reduction="sum")
            known = positive
        total = total + cross_entropy(logits[known], truth[known], reduction="sum")
        wanted = target.boxes[matched[positive]]
        boxes = generalized_box_iou_loss(predicted[positive], wanted, reduction="sum")
        total = total + _BOX_WEIGHT * boxes
    return total / max(1, count)


def _best_shape(boxes: "Tensor", places: "Places", spec: "DetectorSpec") -> "Tensor":
    """Return which box every place learns ``(A,)``: each box is learnt by one place."""
    import torch

    found = torch.full((len(places.anchors),), base.BACKGROUND, device=boxes.device)
    if not len(boxes):
        return found
    centres, sides = centre_size(places.anchors)
    middles, widths = centre_size(boxes)
    corner = centres - spec.offset * places.strides
    inside = (middles[None] >= corner[:, None]) & (
        middles[None] < (corner + places.strides)[:, None]
    )
    common = torch.minimum(sides[:, None], widths[None]).prod(dim=2)
    union = sides.prod(dim=1)[:, None] + widths.prod(dim=1)[None] - common
    fit = torch.where(inside.all(dim=2), common / union, -1.0)
    best, place = fit.max(dim=0)
    has_cell = best >= 0  # a centre outside the picture has none
    found[place[has_cell]] = torch.arange(len(boxes), device=boxes.device)[has_cell]
    return found
