"""Every box is learnt by one query: the matching of least cost.

Equal to transformers' losses of DETR and, without a background, of Deformable DETR; those of
earlier decoder layers, which are no outputs, are left out.

Source: Carion et al., End-to-End Object Detection with Transformers, section 3.1
(https://arxiv.org/abs/2005.12872); Zhu et al., Deformable DETR, appendix A.4
(https://arxiv.org/abs/2010.04159).
"""

from typing import TYPE_CHECKING

from squeeze.tasks.detection.decoders import detr
from squeeze.tasks.detection.loss import base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from squeeze.core.detector import DetectorSpec
    from squeeze.tasks.detection.decoders.base import Places

_L1, _GIOU = 5.0, 2.0
_NOTHING = 0.1
"""Weight of the background: most queries find nothing."""
_ALPHA, _GAMMA = 0.25, 2.0
"""Of the focal loss."""
_TINY = 1e-8


def loss(
    outputs: "Sequence[Tensor]",
    targets: "Sequence[base.Targets]",
    places: "Places",
    spec: "DetectorSpec",
) -> "Tensor":
    """Return class and box terms of the batch, per box; with a background classes per query."""
    from torchvision.ops import generalized_box_iou_loss

    total, every = outputs[0].new_zeros(()), []
    count = max(1, sum(len(one.boxes) for one in targets))
    for number, target in enumerate(targets):
        logits, shares = outputs[0][number].float(), outputs[1][number].float()
        matched = _cheapest(logits, shares, target, places, spec)
        positive = matched >= 0
        own = target.boxes[matched[positive]]
        distance = (shares[positive] - detr.regression(own, places, spec)).abs().sum()
        predicted = detr.boxes(shares[positive], places, spec)
        overlap = generalized_box_iou_loss(predicted, own, reduction="sum")
        total = total + (_L1 * distance + _GIOU * overlap) / count
        every.append(matched)
    if spec.background is None:
        return total + _focal(outputs[0], targets, every) / count
    return total + _cross_entropy(outputs[0], targets, every, spec.background)


def _focal(
    logits: "Tensor", targets: "Sequence[base.Targets]", matched: "Sequence[Tensor]"
) -> "Tensor":
    import torch
    from torchvision.ops import sigmoid_focal_loss

    truth = torch.stack(
        [base.one_hot(*pair, logits.shape[2]) for pair in zip(matched, targets, strict=True)]
    )
    found: Tensor = sigmoid_focal_loss(
        logits.float(), truth, alpha=_ALPHA, gamma=_GAMMA, reduction="sum"
    )
    return found


def _cross_entropy(
    logits: "Tensor",
    targets: "Sequence[base.Targets]",
    matched: "Sequence[Tensor]",
    background: int,
) -> "Tensor":
    import torch
    from torch.nn import functional

    truth = torch.full(logits.shape[:2], background, device=logits.device)
    for own, each, target in zip(truth, matched, targets, strict=True):
        own[each >= 0] = target.columns[each[each >= 0]]
    weights = logits.new_ones(logits.shape[2], dtype=torch.float32)
    weights[background] = _NOTHING
    return functional.cross_entropy(logits.float().flatten(0, 1), truth.flatten(), weights)


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
        wanted = detr.regression(target.boxes, places, spec)
        cost = _L1 * torch.cdist(shares, wanted, p=1)
        cost = cost + _class_cost(logits, spec)[:, target.columns]
        predicted = detr.boxes(shares, places, spec)
        cost = cost - _GIOU * generalized_box_iou(predicted, target.boxes)
    queries, boxes = linear_sum_assignment(cost.cpu().numpy())
    found[torch.from_numpy(queries)] = torch.from_numpy(boxes).to(found.device)
    return found


def _class_cost(logits: "Tensor", spec: "DetectorSpec") -> "Tensor":
    """Return what it costs that a query finds an object of each column ``(Q, columns)``."""
    if spec.background is not None:
        return -logits.softmax(-1)
    every = logits.sigmoid()
    found = _ALPHA * (1 - every) ** _GAMMA * -(every + _TINY).log()
    nothing = (1 - _ALPHA) * every**_GAMMA * -(1 - every + _TINY).log()
    return found - nothing
