"""Which places learn which box."""

from typing import TYPE_CHECKING

from squeeze.tasks.detection.loss.base import BACKGROUND, IGNORED

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.tasks.detection.decoders.base import Places

_RADIUS = 1.5
"""FCOS: points of its level up to this many anchor sizes from a box's centre learn it."""
_PICKED = 13
_POWER = 6.0


def by_overlap(
    boxes: "Tensor", anchors: "Tensor", *, above: float, below: float, best_always: bool
) -> "Tensor":
    """Match every anchor with the box that it overlaps most, ``(A,)``.

    Args:
        boxes: xyxy ``(n, 4)``.
        anchors: xyxy ``(A, 4)``.
        above: IoU from which on a place learns its box.
        below: Less than this is background; what lies between teaches nothing.
        best_always: Whether all anchors that overlap a box most learn the box that they overlap
            most, however little (RetinaNet).

    Source: https://arxiv.org/abs/1506.01497, section 3.1.2.
    """
    import torch
    from torchvision.ops import box_iou

    if not len(boxes):
        return torch.full((len(anchors),), BACKGROUND, device=anchors.device)
    overlaps = box_iou(boxes, anchors)
    best, matched = overlaps.max(dim=0)
    found: Tensor = matched.clone()
    found[best < below] = BACKGROUND
    found[(best >= below) & (best < above)] = IGNORED
    if best_always:
        most = overlaps.amax(dim=1, keepdim=True)
        ties = torch.where(overlaps == most)[1]
        found[ties] = matched[ties]
    return found


def each_box_first(boxes: "Tensor", anchors: "Tensor", above: float) -> "Tensor":
    """Match like ``by_overlap``, and give every box the anchor that overlaps it most (SSD)."""
    import torch
    from torchvision.ops import box_iou

    found = by_overlap(boxes, anchors, above=above, below=above, best_always=False)
    if len(boxes):
        found[box_iou(boxes, anchors).argmax(dim=1)] = torch.arange(len(boxes), device=found.device)
    return found


def by_size(boxes: "Tensor", places: "Places") -> "Tensor":
    """Match points near a box's centre at the level for its size; the smallest box wins.

    Args:
        boxes: xyxy ``(n, 4)``.
        places: One anchor per point, as large as the stride.

    Source: https://arxiv.org/abs/2006.09214, section 3.2, with centre sampling.
    """
    import torch

    anchors, counts = places.anchors, places.counts
    if not len(boxes):
        return torch.full((len(anchors),), BACKGROUND, device=anchors.device)
    points, centres = _centres(anchors), _centres(boxes)
    sizes = anchors[:, 2] - anchors[:, 0]
    away = (points[:, None] - centres[None]).abs().amax(dim=2)
    sides = torch.cat(
        [points[:, None] - boxes[None, :, :2], boxes[None, :, 2:] - points[:, None]], 2
    )
    least, most = sizes * 4, sizes * 8
    least[: counts[0]] = 0
    most[len(most) - counts[-1] :] = float("inf")
    longest = sides.amax(dim=2)
    fits = (away < _RADIUS * sizes[:, None]) & (sides.amin(dim=2) > 0)
    fits &= (longest > least[:, None]) & (longest < most[:, None])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    smallest, matched = torch.where(fits, areas[None], float("inf")).min(dim=1)
    matched[smallest == float("inf")] = BACKGROUND
    return matched


def task_aligned(
    boxes: "Tensor", own: "Tensor", predicted: "Tensor", places: "Places"
) -> "tuple[Tensor, Tensor]":
    """Match each box with the points inside it that classify and locate it best already.

    Args:
        boxes: xyxy ``(n, 4)``.
        own: Probabilities of each box's class at every place ``(A, n)``, detached.
        predicted: Decoded boxes of every place ``(A, 4)``, detached.
        places: Points; a box smaller than a cell is learnt by the point whose cell holds its
            centre.

    Returns:
        Matches ``(A,)``, and what the class should score there ``(A,)``: how well the point does
        among its box's, times the best overlap with the box.

    Source: Feng et al., TOOD, sections 3.2 and 3.3 (https://arxiv.org/abs/2108.07755).
    """
    import torch
    from torchvision.ops import box_iou

    count = len(places.anchors)
    if not len(boxes):
        none = torch.full((count,), BACKGROUND, device=places.anchors.device)
        return none, torch.zeros(count, device=places.anchors.device)
    points, centres = _centres(places.anchors), _centres(boxes)
    reach = torch.maximum((boxes[:, 2:] - boxes[:, :2])[None], places.strides[:, None]) / 2
    inside = ((points[:, None] - centres[None]).abs() <= reach).all(dim=2)
    overlaps = box_iou(predicted, boxes)
    metric = own * overlaps**_POWER * inside
    best = metric.topk(min(_PICKED, count), dim=0)
    picked = torch.zeros_like(inside).scatter_(0, best.indices, best.values > 0) & inside
    matched = torch.where(picked, overlaps, -1.0).argmax(dim=1)
    rows = torch.arange(count, device=matched.device)
    matched[~picked.any(dim=1)] = BACKGROUND
    belongs = torch.zeros_like(picked)
    belongs[rows[matched >= 0], matched[matched >= 0]] = True
    of_box = metric * belongs
    share = of_box / of_box.amax(dim=0).clamp(min=1e-9) * (overlaps * belongs).amax(dim=0)
    return matched, share.amax(dim=1)


def _centres(boxes: "Tensor") -> "Tensor":
    return (boxes[:, :2] + boxes[:, 2:]) / 2
