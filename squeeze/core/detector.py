"""What a detector's raw outputs mean: all the numbers that turn them into boxes.

A detector's module ends at its heads. ``forward(images)`` returns a tuple of tensors: class logits
``(N, A, columns)``, box regression ``(N, A, 4)`` and, where ``DetectorSpec.quality`` says so, one
logit of objectness or centerness per place ``(N, A, 1)``. A place is an anchor, a point of a grid
or a query. Places run through the levels in their order, and in a level row by row, then column by
column, then anchor by anchor. What follows (decoding, non-maximum suppression) is the same code for
every runtime, so that all files are scored by one rule.

A ``two_stage`` detector's places are proposals that its graph makes itself. It regresses a box for
every column, ``(N, P, 4 * columns)``, and returns the proposals as a third output ``(N, P, 5)``:
xyxy in pixels and the probability that something is there; zeros where it found fewer.

The module carries its ``DetectorSpec`` as the attribute ``detector``.
"""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, Self, get_args

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Decoder = Literal["anchor_grid", "anchor_free", "ssd", "retinanet", "detr", "two_stage"]
Nms = Literal["greedy", "soft", "none"]
Scores = Literal["sigmoid", "softmax"]
Step = Literal["stride", "floor", "even"]
Distances = Literal["linear", "exp"]
Assignment = Literal["by_size", "task_aligned"]

_WITHOUT_LEVELS = {"detr", "two_stage"}

LARGEST_LOG = 4.135166556742356
"""Regressed logarithms of sizes are cut off here, log(1000 / 16): exp must not overflow."""


@dataclass(frozen=True)
class Level:
    """One feature map of the head.

    Attributes:
        stride: Pixels of the input per cell, > 0. The map has ``ceil(size / stride)`` cells.
        anchors: Width and height of the boxes at every cell: pixels, or shares of the input's
            width and height if the spec's ``relative`` is set.
    """

    stride: float
    anchors: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class DetectorSpec:
    """How a detector's outputs are read.

    Attributes:
        decoder: The rule: a file of ``squeeze/tasks/detection/decoders``.
        classes: Number of classes K of objects, without a background.
        levels: The head's feature maps, in the order of the outputs; none for queries (``detr``)
            and proposals (``two_stage``).
        background: The column of the class logits that means "nothing", which are then K + 1; None
            where there is none, and they are K.
        scores: ``sigmoid``: every class by itself; ``softmax``: over all columns.
        quality: Whether a third output ``(N, A, 1)`` holds the logits of objectness or centerness.
        offset: Where in its cell an anchor's centre lies, in cells: 0 or 0.5.
        step: Distance of two centres: the level's ``stride``; ``even``: the input's size by the
            number of cells; ``floor``: that, rounded down to whole pixels.
        relative: Whether anchors are shares of the input's size.
        box_weights: What regressed x, y, width and height were multiplied with (``ssd``,
            ``retinanet``, ``two_stage``).
        distances: How ``anchor_free`` regression becomes distances in anchor sizes: as it is, or
            by exp. Of an ``anchor_grid``: ``exp`` is YOLOv3's rule, ``linear`` that of YOLOv5.
        assignment: Which points of an ``anchor_free`` detector learn a box: near its centre at
            the level for its size (FCOS), or those that predict it best already (TOOD).
        score_threshold: Candidates must score more, [0, 1).
        candidates: The best of each level (``ssd``: of each class) that go into suppression; of
            ``two_stage`` there are no more proposals than that, and all of them do.
        nms: ``greedy`` and ``soft`` act within each class; ``none`` for queries.
        nms_iou: Boxes of a class that overlap a better one by more are removed, (0, 1].
        soft_sigma: Width of the Gaussian by which ``soft`` lowers scores, > 0.
        max_detections: Kept per image, best first.
        size: Height and width of the only input that fits; None if any does.
    """

    decoder: Decoder
    classes: int
    levels: tuple[Level, ...] = ()
    background: int | None = None
    scores: Scores = "sigmoid"
    quality: bool = False
    offset: float = 0.5
    step: Step = "stride"
    relative: bool = False
    box_weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    distances: Distances = "linear"
    assignment: Assignment = "by_size"
    score_threshold: float = 0.05
    candidates: int = 1000
    nms: Nms = "greedy"
    nms_iou: float = 0.5
    soft_sigma: float = 0.5
    max_detections: int = 100
    size: tuple[int, int] | None = None

    __pydantic_config__ = {"extra": "forbid", "allow_inf_nan": False}  # noqa: RUF012  (of records)

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: With the field, what was found and what is allowed.
        """
        for field, allowed in (
            ("decoder", Decoder),
            ("nms", Nms),
            ("scores", Scores),
            ("step", Step),
            ("distances", Distances),
            ("assignment", Assignment),
        ):
            value = getattr(self, field)
            if value not in get_args(allowed):
                names = ", ".join(get_args(allowed))
                raise ValueError(f"DetectorSpec.{field} is {value!r}, allowed: {names}")
        _check_numbers(self)

    @property
    def columns(self) -> int:
        """Width of the class logits: K, or K + 1 with a background."""
        return self.classes + (self.background is not None)

    @property
    def outputs(self) -> int:
        """How many tensors the module returns."""
        return len(self.widths)

    @property
    def widths(self) -> tuple[int, ...]:
        """Last dimension of every tensor that the module returns."""
        if self.decoder == "two_stage":
            return (self.columns, 4 * self.columns, 5)
        return (self.columns, 4, 1) if self.quality else (self.columns, 4)

    @property
    def names(self) -> tuple[str, ...]:
        """What every tensor that the module returns holds, in words."""
        third = ("proposals",) if self.decoder == "two_stage" else ("objectness or centerness",)
        return ("class logits", "box regression", *third)[: self.outputs]

    def anchors(self, size: tuple[int, int]) -> "list[NDArray[np.float32]]":
        """Return the anchors of every level ``(cells * anchors per cell, 4)`` as xyxy in pixels.

        Args:
            size: Height and width of the input.
        """
        return [self._anchors(level, size) for level in self.levels]

    def grid(self, level: Level, size: tuple[int, int]) -> tuple[int, int]:
        """Return how many rows and columns a level has for an input of this height and width."""
        return math.ceil(size[0] / level.stride), math.ceil(size[1] / level.stride)

    def steps(self, level: Level, size: tuple[int, int]) -> tuple[float, float]:
        """Return how many pixels neighbouring cells of a level are apart, in x and in y."""
        rows, columns = self.grid(level, size)
        return self._step(level, size[1], columns), self._step(level, size[0], rows)

    def places(self, size: tuple[int, int]) -> int | None:
        """Return A, how many boxes each image gets; None where the model decides."""
        if not self.levels:
            return None
        grids = [(self.grid(level, size), len(level.anchors)) for level in self.levels]
        return sum(rows * columns * anchors for (rows, columns), anchors in grids)

    def as_json(self) -> dict[str, object]:
        """Return the spec as plain data."""
        return asdict(self)

    @classmethod
    def of_json(cls, record: object) -> Self:
        """Return the spec that ``as_json`` wrote.

        Raises:
            ValueError: Unknown or missing fields, or values that cannot work.
        """
        from pydantic import TypeAdapter

        return TypeAdapter(cls).validate_python(record)

    def _anchors(self, level: Level, size: tuple[int, int]) -> "NDArray[np.float32]":
        rows, columns = self.grid(level, size)
        step_x, step_y = self.steps(level, size)
        centres_x = (np.arange(columns) + self.offset) * step_x
        centres_y = (np.arange(rows) + self.offset) * step_y
        unit = np.array((size[1], size[0]) if self.relative else (1, 1), np.float64)
        half = np.asarray(level.anchors, np.float64).reshape(-1, 2) * unit / 2
        middle = np.stack(np.meshgrid(centres_x, centres_y), axis=-1)[:, :, None]
        boxes = np.concatenate([middle - half, middle + half], axis=-1)
        found: NDArray[np.float32] = boxes.reshape(-1, 4).astype(np.float32)
        return found

    def _step(self, level: Level, pixels: int, cells: int) -> float:
        if self.step == "stride":
            return level.stride
        return pixels // cells if self.step == "floor" else pixels / cells


def _check_numbers(spec: DetectorSpec) -> None:
    wrong = {
        "classes must be 1 or more": spec.classes < 1,
        "background must be one of the columns": spec.background is not None
        and not 0 <= spec.background <= spec.classes,
        "softmax needs a background": spec.scores == "softmax" and spec.background is None,
        "levels are missing": not spec.levels and spec.decoder not in _WITHOUT_LEVELS,
        "two_stage has proposals instead of levels and quality": spec.decoder == "two_stage"
        and (bool(spec.levels) or spec.quality),
        "every level needs a stride above 0 and an anchor": any(
            level.stride <= 0 or not level.anchors for level in spec.levels
        ),
        "box_weights must be above 0": min(spec.box_weights) <= 0,
        "score_threshold must be in [0, 1)": not 0 <= spec.score_threshold < 1,
        "nms_iou must be in (0, 1]": not 0 < spec.nms_iou <= 1,
        "soft_sigma must be above 0": spec.soft_sigma <= 0,
        "candidates and max_detections must be 1 or more": min(spec.candidates, spec.max_detections)
        < 1,
    }
    found = [text for text, is_wrong in wrong.items() if is_wrong]
    if found:
        raise ValueError(f"DetectorSpec: {'; '.join(found)}")
