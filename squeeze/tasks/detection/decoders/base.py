"""What a decoder does, and how candidates are chosen before suppression."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from squeeze.core.detector import DetectorSpec

Size = tuple[int, int]
"""Height and width of the model's input in pixels."""


@dataclass(frozen=True)
class Places:
    """Where boxes are predicted.

    Attributes:
        anchors: xyxy in pixels ``(A, 4)``; empty for queries.
        strides: Pixels between neighbouring cells of the place's level ``(A, 2)``, x and y.
        counts: Places of every level, together A.
        size: Height and width of the input.
    """

    anchors: "Tensor"
    strides: "Tensor"
    counts: tuple[int, ...]
    size: Size

    def take(self, chosen: "Tensor") -> "Places":
        """Return some places, by a mask or positions; they are no levels any more."""
        return Places(self.anchors[chosen], self.strides[chosen], (), self.size)


@dataclass(frozen=True)
class Candidates:
    """Boxes of one image before suppression.

    Attributes:
        boxes: xyxy in pixels of the input ``(n, 4)``.
        scores: ``(n,)`` in [0, 1].
        classes: ``(n,)`` int64, from 0, without a background.
    """

    boxes: "Tensor"
    scores: "Tensor"
    classes: "Tensor"


class Decoder(Protocol):
    """The functions that a decoder's file has."""

    def boxes(self, regression: "Tensor", places: Places, spec: "DetectorSpec") -> "Tensor":
        """Return xyxy in pixels ``(..., n, 4)``, differentiably.

        Args:
            regression: The module's second output ``(..., n, 4)``, or some places of it.
            places: The same n places.
            spec: The detector's numbers.
        """
        ...

    def regression(self, boxes: "Tensor", places: Places, spec: "DetectorSpec") -> "Tensor":
        """Return the regression ``(n, 4)`` that decodes to these boxes: the inverse of ``boxes``.

        Args:
            boxes: xyxy ``(n, 4)`` with positive width and height.
            places: One for each box.
            spec: The detector's numbers.
        """
        ...

    def candidates(
        self, outputs: "Sequence[Tensor]", places: Places, spec: "DetectorSpec"
    ) -> list[Candidates]:
        """Return the candidates of every image of a batch."""
        ...


def places(spec: "DetectorSpec", size: Size, like: "Tensor") -> Places:
    """Return all places for an input of this size, on the device of ``like``."""
    import torch

    levels = [torch.from_numpy(level).to(like.device) for level in spec.anchors(size)]
    counts = tuple(len(level) for level in levels)
    if not levels:
        return Places(like.new_zeros(0, 4), like.new_zeros(0, 2), (), size)
    steps = like.new_tensor([spec.steps(level, size) for level in spec.levels])
    strides = steps.float().repeat_interleave(torch.tensor(counts, device=like.device), dim=0)
    return Places(torch.cat(levels), strides, counts, size)


def probabilities(outputs: "Sequence[Tensor]", spec: "DetectorSpec") -> "Tensor":
    """Return the probability of every class of objects ``(N, A, K)``, without the background."""
    import torch

    logits = outputs[0].float()
    all_columns = logits.softmax(-1) if spec.scores == "softmax" else logits.sigmoid()
    if spec.background is None:
        return all_columns
    before, after = all_columns[..., : spec.background], all_columns[..., spec.background + 1 :]
    return torch.cat([before, after], dim=-1)


def best_of_levels(
    scores: "Tensor", counts: "Sequence[int]", spec: "DetectorSpec"
) -> "tuple[Tensor, Tensor, Tensor]":
    """Choose the best pairs of place and class of each level, as RetinaNet and FCOS do.

    Args:
        scores: Of one image ``(A, K)``.
        counts: Places of every level, together A.
        spec: Gives ``score_threshold`` and ``candidates``.

    Returns:
        Places ``(n,)``, classes ``(n,)`` and scores ``(n,)``, level by level, each best first.
    """
    import torch

    places, classes, kept = [], [], []
    first, columns = 0, scores.shape[1]
    for count in counts:
        chosen, best = largest(scores[first : first + count].flatten(), spec)
        places.append(first + chosen // columns)
        classes.append(chosen % columns)
        kept.append(best)
        first += count
    return torch.cat(places), torch.cat(classes), torch.cat(kept)


def largest(scores: "Tensor", spec: "DetectorSpec") -> "tuple[Tensor, Tensor]":
    """Return positions and values of the best candidates of ``(n,)``, best first.

    Equal scores, of which int8 files have many, keep their order: so every runtime chooses the
    same ones.
    """
    import torch

    passing = torch.where(scores > spec.score_threshold)[0]
    if len(passing) > spec.candidates:
        least = scores[passing].topk(spec.candidates).values[-1]
        passing = passing[scores[passing] >= least]
    best, order = scores[passing].sort(descending=True, stable=True)
    return passing[order][: spec.candidates], best[: spec.candidates]


def clip(boxes: "Tensor", size: Size) -> "Tensor":
    """Return boxes ``(..., 4)`` cut off at the borders of the input."""
    import torch

    limits = boxes.new_tensor([size[1], size[0], size[1], size[0]])
    return torch.minimum(boxes.clamp(min=0), limits)


def centre_size(boxes: "Tensor") -> "tuple[Tensor, Tensor]":
    """Return centres ``(..., 2)`` and widths and heights ``(..., 2)`` of boxes ``(..., 4)``."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * sides, sides


def corners(centres: "Tensor", sides: "Tensor") -> "Tensor":
    """Return xyxy ``(..., 4)`` of centres and sides ``(..., 2)``."""
    import torch

    return torch.cat([centres - 0.5 * sides, centres + 0.5 * sides], dim=-1)
