"""Boxes around objects: what a person annotated, what a model found, and where a picture lies.

Coordinates are continuous: a picture of ``w`` by ``h`` pixels spans 0 to ``w`` and 0 to ``h``, and
a box that covers it whole is ``(0, 0, w, h)``.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


def areas_of(xyxy: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Return the areas ``(n,)`` of boxes ``(n, 4)``; inverted boxes have none."""
    sides = np.maximum(xyxy[:, 2:] - xyxy[:, :2], 0)
    areas: NDArray[np.float32] = (sides[:, 0] * sides[:, 1]).astype(np.float32)
    return areas


def overlaps(one: "NDArray[np.float32]", other: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """Return intersection over union ``(n, m)``, in [0, 1], of boxes ``(n, 4)`` and ``(m, 4)``.

    Boxes without area overlap nothing.
    """
    left, right = one.astype(np.float64)[:, None], other.astype(np.float64)[None]
    low = np.maximum(left[..., :2], right[..., :2])
    high = np.minimum(left[..., 2:], right[..., 2:])
    both = np.maximum(high - low, 0).prod(-1)
    areas = [np.maximum(boxes[..., 2:] - boxes[..., :2], 0).prod(-1) for boxes in (left, right)]
    union = areas[0] + areas[1] - both
    shares: NDArray[np.float64] = np.divide(both, union, out=np.zeros_like(both), where=union > 0)
    return shares


@dataclass(frozen=True, eq=False)
class Boxes:
    """The annotations of one image.

    Attributes:
        xyxy: Left, top, right and bottom in pixels ``(n, 4)`` float32.
        classes: Class indices ``(n,)`` int64, from 0, without a background.
        ignored: ``(n,)`` bool: COCO's crowds and VOC's difficult objects. Finding one is neither
            right nor wrong, and nothing is trained on it.
        areas: Annotated areas in square pixels ``(n,)`` float32; the box's where there is none.
    """

    xyxy: "NDArray[np.float32]"
    classes: "NDArray[np.int64]"
    ignored: "NDArray[np.bool_]"
    areas: "NDArray[np.float32]"

    @classmethod
    def of(
        cls,
        xyxy: "ArrayLike",
        classes: "ArrayLike",
        *,
        ignored: "ArrayLike | None" = None,
        areas: "ArrayLike | None" = None,
    ) -> Self:
        """Return boxes from anything that NumPy reads, in the types and shapes above.

        Raises:
            ValueError: The lengths differ.
        """
        corners = np.asarray(xyxy, np.float32).reshape(-1, 4)
        found = cls(
            corners,
            np.asarray(classes, np.int64).reshape(-1),
            np.zeros(len(corners), np.bool_) if ignored is None else np.asarray(ignored, np.bool_),
            areas_of(corners) if areas is None else np.asarray(areas, np.float32),
        )
        lengths = {len(found.classes), len(found.ignored), len(found.areas), len(corners)}
        if len(lengths) > 1:
            raise ValueError(f"boxes, classes, ignored and areas differ in length: {lengths}")
        return found

    @classmethod
    def none(cls) -> Self:
        """Return the annotations of an image without objects."""
        return cls.of([], [])

    def __len__(self) -> int:
        return len(self.xyxy)

    def take(self, chosen: "NDArray[np.bool_] | NDArray[np.int64]") -> "Boxes":
        """Return some of the boxes: by a mask ``(n,)`` or by positions."""
        return Boxes(
            self.xyxy[chosen], self.classes[chosen], self.ignored[chosen], self.areas[chosen]
        )

    def into(self, placement: "Placement") -> "Boxes":
        """Return the boxes in pixels of the model's input; areas scale along."""
        areas = self.areas * np.float32(placement.scale_x * placement.scale_y)
        return Boxes(placement.into(self.xyxy), self.classes, self.ignored, areas)


@dataclass(frozen=True, eq=False)
class Detections:
    """What a model found in one image, best first.

    Attributes:
        xyxy: Left, top, right and bottom in pixels ``(n, 4)`` float32.
        scores: ``(n,)`` float32 in [0, 1], falling.
        classes: Class indices ``(n,)`` int64, from 0, without a background.
    """

    xyxy: "NDArray[np.float32]"
    scores: "NDArray[np.float32]"
    classes: "NDArray[np.int64]"

    @classmethod
    def of(cls, xyxy: "ArrayLike", scores: "ArrayLike", classes: "ArrayLike") -> Self:
        """Return detections from anything that NumPy reads, sorted: equal scores keep their order.

        Raises:
            ValueError: The lengths differ.
        """
        corners = np.asarray(xyxy, np.float32).reshape(-1, 4)
        confidences = np.asarray(scores, np.float32).reshape(-1)
        indices = np.asarray(classes, np.int64).reshape(-1)
        if not len(corners) == len(confidences) == len(indices):
            lengths = len(corners), len(confidences), len(indices)
            raise ValueError(f"boxes, scores and classes differ in length: {lengths}")
        order = np.argsort(-confidences, kind="stable")
        return cls(corners[order], confidences[order], indices[order])

    @classmethod
    def none(cls) -> Self:
        """Return the detections in an image in which nothing was found."""
        return cls.of([], [], [])

    def __len__(self) -> int:
        return len(self.xyxy)

    def take(self, chosen: "NDArray[np.bool_] | NDArray[np.int64] | slice") -> "Detections":
        """Return some of the detections: by a mask ``(n,)``, by rising positions or a slice."""
        return Detections(self.xyxy[chosen], self.scores[chosen], self.classes[chosen])

    def back(self, placement: "Placement") -> "Detections":
        """Return the detections in pixels of the picture, cut off at its borders."""
        return Detections(placement.back(self.xyxy), self.scores, self.classes)


@dataclass(frozen=True)
class Placement:
    """How a picture was fitted into the model's input: ``input = picture * scale + offset``.

    Attributes:
        scale_x: Pixels of the input per pixel of the picture, > 0.
        scale_y: The same for rows; whole pixels make it differ a little from ``scale_x``.
        left: Column of the input at which the picture begins.
        top: Row of the input at which it begins.
        size: Height and width of the picture.
    """

    scale_x: float
    scale_y: float
    left: float
    top: float
    size: tuple[int, int]

    def into(self, xyxy: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Return boxes of the picture ``(n, 4)`` in pixels of the input."""
        moved: NDArray[np.float32] = (xyxy * self._scale + self._offset).astype(np.float32)
        return moved

    def back(self, xyxy: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Return boxes of the input ``(n, 4)`` in pixels of the picture, cut off at its borders."""
        height, width = self.size
        moved = (xyxy - self._offset) / self._scale
        cut: NDArray[np.float32] = np.clip(moved, 0, (width, height, width, height)).astype(
            np.float32
        )
        return cut

    @property
    def _scale(self) -> "NDArray[np.float64]":
        return _twice(self.scale_x, self.scale_y)

    @property
    def _offset(self) -> "NDArray[np.float64]":
        return _twice(self.left, self.top)


def _twice(x: float, y: float) -> "NDArray[np.float64]":
    # float64, so that there and back again is exact to float32's last digit
    return np.array([x, y, x, y], np.float64)


def count_boxes(annotations: "Sequence[Boxes]", classes: int) -> "NDArray[np.int64]":
    """Return how many boxes ``(classes,)`` every class has; ignored ones do not count."""
    counts = np.zeros(classes, np.int64)
    for boxes in annotations:
        counts += np.bincount(boxes.classes[~boxes.ignored], minlength=classes)
    return counts
