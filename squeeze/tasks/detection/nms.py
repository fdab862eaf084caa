"""Suppress boxes of objects that a better box covers already, within each class."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.core.detector import DetectorSpec
    from squeeze.tasks.detection.decoders.base import Candidates


def suppress(found: "Candidates", spec: "DetectorSpec") -> "tuple[Tensor, Tensor]":
    """Return positions ``(n,)`` of what stays and its scores ``(n,)``, best first.

    Args:
        found: One image's candidates.
        spec: Gives the kind of suppression and ``max_detections``.
    """
    from torchvision.ops import batched_nms

    if spec.nms == "soft":
        kept, scores = soft_nms(
            found.boxes,
            found.scores,
            found.classes,
            sigma=spec.soft_sigma,
            score_threshold=spec.score_threshold,
        )
    elif spec.nms == "greedy":
        kept = batched_nms(found.boxes, found.scores, found.classes, spec.nms_iou)
        scores = found.scores[kept]
    else:
        scores, kept = found.scores.sort(descending=True, stable=True)
    return kept[: spec.max_detections], scores[: spec.max_detections]


def soft_nms(
    boxes: "Tensor", scores: "Tensor", classes: "Tensor", *, sigma: float, score_threshold: float
) -> "tuple[Tensor, Tensor]":
    """Lower the scores of boxes of a class by how much they overlap better ones.

    Args:
        boxes: xyxy ``(n, 4)``.
        scores: ``(n,)`` in [0, 1].
        classes: ``(n,)`` int64.
        sigma: A score is multiplied with exp(-IoU^2 / sigma) for each better box; > 0.
        score_threshold: A box is dropped once its score is not above.

    Returns:
        Positions ``(m,)`` of what stays and its lowered scores ``(m,)``, best first.

    Source: Bodla et al., Soft-NMS, equation for the Gaussian in section 3
    (https://arxiv.org/abs/1704.04503).
    """
    import torch
    from torchvision.ops import box_iou

    kept, lowered = [], []
    for number in sorted(set(classes.tolist())):
        places = torch.where(classes == number)[0]
        left, decay = (
            scores[places].clone(),
            torch.exp(-(box_iou(boxes[places], boxes[places]) ** 2) / sigma),
        )
        while True:
            best = int(left.argmax())  # those taken are at -1 and end it
            if float(left[best]) <= score_threshold:
                break
            kept.append(places[best])
            lowered.append(left[best].clone())
            left *= decay[best]
            left[best] = -1.0
    if not kept:
        return classes.new_zeros(0), scores.new_zeros(0)
    order = torch.stack(lowered).argsort(descending=True, stable=True)
    return torch.stack(kept)[order], torch.stack(lowered)[order]
