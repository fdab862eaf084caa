"""What the losses share: targets as tensors, columns of classes, and the focal loss."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from squeeze.core.boxes import Boxes
    from squeeze.core.detector import DetectorSpec
    from squeeze.tasks.detection.decoders.base import Places

BACKGROUND, IGNORED = -1, -2
"""What a place is matched to when to no box."""
_COVERED = 0.5
"""A place whose anchor lies in an ignored box by this share teaches nothing."""


@dataclass(frozen=True)
class Targets:
    """The boxes of one image that are to be found, in pixels of the input.

    Attributes:
        boxes: xyxy ``(n, 4)`` with positive width and height.
        columns: The column of the class logits of each ``(n,)`` int64.
        ignored: xyxy ``(m, 4)``: what teaches nothing.
    """

    boxes: "Tensor"
    columns: "Tensor"
    ignored: "Tensor"


def targets_of(
    annotations: "Sequence[Boxes]", spec: "DetectorSpec", like: "Tensor"
) -> list[Targets]:
    """Return annotations as tensors on the device of ``like``; boxes without area are left out."""
    import torch

    found = []
    for boxes in annotations:
        xyxy = torch.as_tensor(boxes.xyxy, dtype=torch.float32, device=like.device)
        ignored = torch.as_tensor(boxes.ignored, device=like.device)
        has_area = (xyxy[:, 2:] > xyxy[:, :2]).all(dim=1)
        wanted = has_area & ~ignored
        classes = torch.as_tensor(boxes.classes, device=like.device)[wanted]
        found.append(Targets(xyxy[wanted], columns(classes, spec), xyxy[has_area & ignored]))
    return found


def columns(classes: "Tensor", spec: "DetectorSpec") -> "Tensor":
    """Return the columns of the class logits that stand for these classes."""
    if spec.background is None:
        return classes
    return classes + (classes >= spec.background)


def ignore_(matched: "Tensor", target: Targets, places: "Places") -> None:
    """Mark places of the background that lie on ignored boxes, in place."""
    if not len(target.ignored):
        return
    import torch

    anchors, others = places.anchors[:, None], target.ignored[None]
    sides = torch.minimum(anchors[..., 2:], others[..., 2:]) - torch.maximum(
        anchors[..., :2], others[..., :2]
    )
    own = (places.anchors[:, 2:] - places.anchors[:, :2]).prod(dim=1)
    share = sides.clamp(min=0).prod(dim=-1).amax(dim=1) / own
    matched[(matched == BACKGROUND) & (share >= _COVERED)] = IGNORED


def one_hot(matched: "Tensor", target: Targets, width: int) -> "Tensor":
    """Return ``(A, width)`` with a one where a place's box has its class."""
    found = target.boxes.new_zeros(len(matched), width)
    positive = matched >= 0
    found[positive, target.columns[matched[positive]]] = 1.0
    return found
