"""The decoders of ``squeeze/tasks/detection/decoders`` as ONNX nodes; sources are named there."""

from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.detector import LARGEST_LOG

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from squeeze.core.detector import DetectorSpec
    from squeeze.exporting.detections.draft import Draft, Value

Size = tuple[int, int]


def scores(draft: "Draft", outputs: "Sequence[Value]", spec: "DetectorSpec") -> "Value":
    """Return the score of every class of objects at every place ``(N, A, K)``."""
    if spec.scores == "softmax":
        found = draft.node("Softmax", outputs[0], attributes={"axis": -1})
    else:
        found = draft.node("Sigmoid", outputs[0])
    if spec.background is not None:
        objects = [column for column in range(spec.columns) if column != spec.background]
        found = draft.node("Gather", found, np.array(objects), attributes={"axis": -1})
    if spec.quality:
        found = draft.node("Mul", found, draft.node("Sigmoid", outputs[2]))
        if spec.decoder == "anchor_free":
            found = draft.node("Sqrt", found)
    return found


def boxes(draft: "Draft", regression: "Value", spec: "DetectorSpec", size: Size) -> "Value":
    """Return xyxy in pixels of the input ``(N, A, 4)``, cut off at its borders."""
    found = _BOXES[spec.decoder](draft, regression, spec, size)
    limits = np.array([size[1], size[0], size[1], size[0]], np.float32)
    return draft.node("Min", draft.node("Max", found, np.float32(0)), limits)


def _retinanet(draft: "Draft", regression: "Value", spec: "DetectorSpec", size: Size) -> "Value":
    centres, sides = _anchors(spec, size)
    offsets = draft.node("Div", regression, np.array(spec.box_weights, np.float32))
    shifts = draft.node("Mul", draft.columns(offsets, 0, 2), sides)
    grown = draft.node("Mul", _exp(draft, draft.columns(offsets, 2, 4)), sides)
    return _corners(draft, draft.node("Add", shifts, centres), grown)


def _anchor_free(draft: "Draft", regression: "Value", spec: "DetectorSpec", size: Size) -> "Value":
    centres, sides = _anchors(spec, size)
    distances = _exp(draft, regression) if spec.distances == "exp" else regression
    before = draft.node("Mul", draft.columns(distances, 0, 2), sides)
    after = draft.node("Mul", draft.columns(distances, 2, 4), sides)
    return draft.joined(draft.node("Sub", centres, before), draft.node("Add", centres, after))


def _anchor_grid(draft: "Draft", regression: "Value", spec: "DetectorSpec", size: Size) -> "Value":
    centres, sides = _anchors(spec, size)
    share = draft.node("Sigmoid", draft.columns(regression, 0, 2))
    ratio = draft.columns(regression, 2, 4)
    if spec.distances == "exp":
        grown = _exp(draft, ratio)
    else:
        share = draft.node("Sub", draft.node("Mul", share, np.float32(2)), np.float32(0.5))
        twice = draft.node("Mul", draft.node("Sigmoid", ratio), np.float32(2))
        grown = draft.node("Mul", twice, twice)
    counts = [len(level) for level in spec.anchors(size)]
    steps = np.array([spec.steps(level, size) for level in spec.levels], np.float32)
    shift = draft.node("Sub", share, np.float32(spec.offset))
    moved = draft.node("Mul", shift, np.repeat(steps, counts, axis=0))
    return _corners(draft, draft.node("Add", moved, centres), draft.node("Mul", grown, sides))


def _detr(draft: "Draft", regression: "Value", spec: "DetectorSpec", size: Size) -> "Value":
    del spec
    unit = np.array([size[1], size[0], size[1], size[0]], np.float32)
    pixels = draft.node("Mul", regression, unit)
    return _corners(draft, draft.columns(pixels, 0, 2), draft.columns(pixels, 2, 4))


_BOXES: "Mapping[str, Callable[[Draft, Value, DetectorSpec, Size], Value]]" = {
    "anchor_free": _anchor_free,
    "anchor_grid": _anchor_grid,
    "detr": _detr,
    "retinanet": _retinanet,
    "ssd": _retinanet,
}

KNOWN = tuple(_BOXES)
"""Decoders that have nodes."""


def _anchors(spec: "DetectorSpec", size: Size) -> "tuple[np.ndarray, np.ndarray]":
    """Return centres and sides of all anchors, ``(A, 2)`` each."""
    corners = np.concatenate(spec.anchors(size))
    sides = corners[:, 2:] - corners[:, :2]
    return corners[:, :2] + np.float32(0.5) * sides, sides


def _exp(draft: "Draft", logs: "Value") -> "Value":
    return draft.node("Exp", draft.node("Min", logs, np.float32(LARGEST_LOG)))


def _corners(draft: "Draft", centres: "Value", sides: "Value") -> "Value":
    half = draft.node("Mul", sides, np.float32(0.5))
    return draft.joined(draft.node("Sub", centres, half), draft.node("Add", centres, half))
