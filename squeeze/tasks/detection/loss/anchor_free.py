"""Points learn the boxes around them: FCOS's loss, or TOOD's where the spec says so."""

from typing import TYPE_CHECKING

from squeeze.tasks.detection.decoders import anchor_free
from squeeze.tasks.detection.loss import assignment, base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from squeeze.core.detector import DetectorSpec
    from squeeze.tasks.detection.decoders.base import Places

_GAMMA = 2.0
"""Of the weight of class terms, by how far score and target are apart."""
_BOX_WEIGHT = 2.0
"""Of the box term beside the class term, where places are chosen by how well they do."""


def loss(
    outputs: "Sequence[Tensor]",
    targets: "Sequence[base.Targets]",
    places: "Places",
    spec: "DetectorSpec",
) -> "Tensor":
    """Return the sum of class, box and, with a third output, centerness terms."""
    if spec.assignment == "task_aligned":
        return _task_aligned(outputs, targets, places, spec)
    return _by_size(outputs, targets, places, spec)


def _by_size(
    outputs: "Sequence[Tensor]",
    targets: "Sequence[base.Targets]",
    places: "Places",
    spec: "DetectorSpec",
) -> "Tensor":
    """Source: https://arxiv.org/abs/2006.09214, equations 2 and 3."""
    import torch
    from torch.nn import functional
    from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

    total, count = outputs[0].new_zeros(()), 0
    for number, target in enumerate(targets):
        logits, regression = outputs[0][number].float(), outputs[1][number]
        matched = assignment.by_size(target.boxes, places)
        base.ignore_(matched, target, places)
        known, positive = matched != base.IGNORED, matched >= 0
        count += int(positive.sum())
        truth = base.one_hot(matched, target, logits.shape[1])
        total = total + sigmoid_focal_loss(logits[known], truth[known], reduction="sum")
        wanted, chosen = target.boxes[matched[positive]], places.take(positive)
        predicted = anchor_free.boxes(regression[positive], chosen, spec)
        total = total + generalized_box_iou_loss(predicted, wanted, reduction="sum")
        if spec.quality:
            sides = anchor_free.sides(wanted, chosen)
            pairs = torch.stack([sides[:, 0::2], sides[:, 1::2]], dim=1)
            centerness = (pairs.amin(dim=2) / pairs.amax(dim=2)).prod(dim=1).sqrt()
            total = total + functional.binary_cross_entropy_with_logits(
                outputs[2][number].float()[positive, 0], centerness, reduction="sum"
            )
    return total / max(1, count)


def _task_aligned(
    outputs: "Sequence[Tensor]",
    targets: "Sequence[base.Targets]",
    places: "Places",
    spec: "DetectorSpec",
) -> "Tensor":
    """Source: https://arxiv.org/abs/2108.07755, equations 4 to 6.

    Without the weights a level that is seldom right is taught by its many empty points alone, and
    its head dies: all weights turn negative behind a ReLU, and nothing brings them back.
    """
    from torch.nn import functional
    from torchvision.ops import generalized_box_iou_loss

    total, weight = outputs[0].new_zeros(()), outputs[0].new_zeros(())
    for number, target in enumerate(targets):
        logits = outputs[0][number].float()
        predicted = anchor_free.boxes(outputs[1][number], places, spec)
        own = logits.detach().sigmoid()[:, target.columns]
        matched, share = assignment.task_aligned(target.boxes, own, predicted.detach(), places)
        base.ignore_(matched, target, places)
        known, positive = matched != base.IGNORED, matched >= 0
        truth = base.one_hot(matched, target, logits.shape[1]) * share[:, None]
        weight = weight + share.sum()
        terms = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        terms = terms * (truth - logits.sigmoid()).abs() ** _GAMMA
        total = total + terms[known].sum()
        each = generalized_box_iou_loss(predicted[positive], target.boxes[matched[positive]])
        total = total + _BOX_WEIGHT * (each * share[positive]).sum()
    return total / weight.clamp(min=1.0)
