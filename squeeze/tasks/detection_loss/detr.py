"""Every box is learnt by one query: the matching of least cost.

Source: Carion et al., End-to-End Object Detection with Transformers, section 3.1
(https://arxiv.org/abs/2005.12872); without a background classes learn by the focal loss, as in
Zhu et al., Deformable DETR (https://arxiv.org/abs/2010.04159).
"""

from typing import TYPE_CHECKING

from squeeze.tasks.decoders import detr
from squeeze.tasks.detection_loss import base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from squeeze.core.detector import DetectorSpec
    from squeeze.tasks.decoders.base import Places

_L1, _GIOU = 5.0, 2.0
_NOTHING = 0.1
"""Weight of the background: most queries find nothing."""


def loss(
    outputs: "Sequence[Tensor]",
    targets: "Sequence[base.Targets]",
    places: "Places",
    spec: "DetectorSpec",
) -> "Tensor":
    """Return class and box terms of the batch, per box."""
    import torch
    from torch.nn import functional
    from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

    total, count = outputs[0].new_zeros(()), max(1, sum(len(one.boxes) for one in targets))
    for number, target in enumerate(targets):
        logits, shares = outputs[0][number].float(), outputs[1][number].float()
        predicted, wanted = detr.boxes(shares, places, spec), target.boxes
        matched = _cheapest(logits, shares, target, places, spec)
        positive = matched >= 0
        if spec.background is None:
            truth = base.one_hot(matched, target, logits.shape[1])
            total = total + sigmoid_focal_loss(logits, truth, reduction="sum") / count
        else:
            columns = torch.full_like(matched, spec.background)
            columns[positive] = target.columns[matched[positive]]
            weights = logits.new_ones(logits.shape[1])
            weights[spec.background] = _NOTHING
            each = functional.cross_entropy(logits, columns, weights)
            total = total + each / len(targets)
        own = wanted[matched[positive]]
        distance = (shares[positive] - detr.regression(own, places, spec)).abs().sum()
        overlap = generalized_box_iou_loss(predicted[positive], own, reduction="sum")
        total = total + (_L1 * distance + _GIOU * overlap) / count
    return total


def _cheapest(
    logits: "Tensor",
    shares: "Tensor",
    target: base.Targets,
    places: "Places",
    spec: "DetectorSpec",
) -> "Tensor":
    """Return which box every query learns ``(Q,)``."""
    import torch
    from scipy.optimize import linear_sum_assignment
    from torchvision.ops import generalized_box_iou

    found = torch.full((len(logits),), base.BACKGROUND, device=logits.device)
    if not len(target.boxes):
        return found
    with torch.no_grad():
        every = logits.sigmoid() if spec.background is None else logits.softmax(-1)
        wanted = detr.regression(target.boxes, places, spec)
        cost = _L1 * torch.cdist(shares, wanted, p=1) - every[:, target.columns]
        predicted = detr.boxes(shares, places, spec)
        cost = cost - _GIOU * generalized_box_iou(predicted, target.boxes)
    queries, boxes = linear_sum_assignment(cost.cpu().numpy())
    found[torch.from_numpy(queries)] = torch.from_numpy(boxes).to(found.device)
    return found
