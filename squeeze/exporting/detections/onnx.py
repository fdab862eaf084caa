"""From an ONNX file of raw outputs, float or int8, to one whose outputs are boxes.

Nothing is exported again: nodes for decoding and greedy suppression within each class are put
behind the graph that was measured.
"""

from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.errors import InputError, SqueezeError
from squeeze.exporting.detections import decoders
from squeeze.exporting.detections.draft import Draft
from squeeze.store import new_file

if TYPE_CHECKING:
    from pathlib import Path

    from squeeze.core.detector import DetectorSpec
    from squeeze.exporting.detections.draft import Value

OUTPUTS = {
    "boxes": "(N, D, 4) float32: left, top, right, bottom in pixels of the input, best first",
    "scores": "(N, D) float32 in [0, 1]",
    "classes": "(N, D) int64, from 0, without a background",
    "count": "(N,) int64: how many of the D are detections; the rest is 0, 0 and -1",
}
"""What such a file returns, in this order."""
_OPSET = 18


def check(spec: "DetectorSpec", where: str) -> None:
    """Refuse detectors whose decoding or suppression has no operators in ONNX.

    Raises:
        InputError: With what there is.
    """
    if spec.decoder not in decoders.KNOWN:
        raise InputError(
            f"there are no ONNX nodes for the decoder {spec.decoder}, only for "
            f"{', '.join(decoders.KNOWN)}",
            where=where,
        )
    if spec.nms == "soft":
        raise InputError(
            "the detector's suppression is soft and ONNX's operator is greedy",
            where=where,
            hint="set nms: greedy in its DetectorSpec",
        )


def attach(
    source: "Path", destination: "Path", spec: "DetectorSpec", size: tuple[int, int]
) -> None:
    """Write a copy of an ONNX file that ends at detections, best first.

    Its outputs are ``OUTPUTS``.

    Args:
        source: Its outputs are those of a detector, see ``squeeze.core.detector``.
        destination: The new file; it appears whole or not at all.
        spec: The detector's numbers. D is its ``max_detections``, or as many boxes as there are.
        size: Height and width of the input.

    Raises:
        InputError: See ``check``.
        SqueezeError: The file's operators are older than those of the nodes.
    """
    import onnx_ir

    check(spec, str(source))
    model = onnx_ir.load(source)
    graph = model.graph
    opset = model.opset_imports.get("", 0)
    if opset < _OPSET:
        what = f"its operator set is {opset}, suppression inside takes {_OPSET} or newer"
        raise SqueezeError(what, where=str(source))
    _end_at_boxes_(graph, spec, size)
    with new_file(destination) as inside:
        onnx_ir.save(model, inside)


def _end_at_boxes_(graph: "Value", spec: "DetectorSpec", size: tuple[int, int]) -> None:
    """Put decoding and suppression behind a graph of raw outputs."""
    raw: list[Value] = list(graph.outputs)
    for value in raw:
        value.name = f"raw_{value.name}"  # the new outputs have plain names
    draft = Draft(graph)
    floats = [_as_float(draft, value) for value in raw]
    scores = decoders.scores(draft, floats, spec)
    boxes = decoders.boxes(draft, floats[1], spec, size)
    places = spec.places(size) or int(raw[0].shape[1])
    kept = _suppressed(draft, boxes, _chosen(draft, scores, spec, size), spec)
    limits = [spec.max_detections, places * spec.classes]
    found = min([*limits, spec.candidates] if spec.nms == "none" else limits)
    outputs = _best(draft, boxes, kept, spec, (places, found))
    _declare_(graph, outputs, found)


def _as_float(draft: Draft, value: "Value") -> "Value":
    import onnx_ir

    if value.dtype == onnx_ir.DataType.FLOAT:
        return value
    return draft.node("Cast", value, attributes={"to": int(onnx_ir.DataType.FLOAT)})


def _chosen(draft: Draft, scores: "Value", spec: "DetectorSpec", size: tuple[int, int]) -> "Value":
    """Return scores ``(N, K, A)`` with zeros where no candidate is, as the decoders choose."""
    if spec.decoder == "detr" and spec.background is not None:
        best = draft.node("ArgMax", scores, attributes={"axis": -1, "keepdims": 0})
        ends = np.array([0, 1], np.float32)
        only = draft.node("OneHot", best, np.int64(spec.classes), ends, attributes={"axis": -1})
        scores = draft.node("Mul", scores, only)
    elif spec.decoder not in {"detr", "ssd"}:
        levels, first = [], 0
        for count in (len(level) for level in spec.anchors(size)):
            own = draft.columns(scores, first, first + count, axis=1)
            pairs = draft.shaped(own, 0, -1)
            limited = _largest(draft, pairs, count * spec.classes, spec.candidates)
            levels.append(draft.shaped(limited, 0, count, spec.classes))
            first += count
        scores = draft.joined(*levels, axis=1)
    by_class = draft.node("Transpose", scores, attributes={"perm": (0, 2, 1)})
    if spec.decoder == "ssd":
        return _largest(draft, by_class, spec.places(size) or 0, spec.candidates)
    return by_class


def _largest(draft: Draft, scores: "Value", width: int, count: int) -> "Value":
    """Return scores with zeros for all but the largest of the last axis."""
    if width <= count:
        return scores
    values, places = draft.top(scores, count)
    zeros = draft.zeros_like(scores)
    return draft.node("ScatterElements", zeros, places, values, attributes={"axis": -1})


def _suppressed(draft: Draft, boxes: "Value", scores: "Value", spec: "DetectorSpec") -> "Value":
    """Return scores ``(N, K, A)`` with zeros for boxes that overlap a better one of their class."""
    if spec.nms == "none":
        return scores
    limit = np.array([spec.max_detections], np.int64)
    iou, least = (np.array([v], np.float32) for v in (spec.nms_iou, spec.score_threshold))
    stays = draft.node("NonMaxSuppression", boxes, scores, limit, iou, least)
    kept = draft.node("GatherND", scores, stays)
    return draft.node("ScatterND", draft.zeros_like(scores), stays, kept)


def _best(
    draft: Draft, boxes: "Value", scores: "Value", spec: "DetectorSpec", counts: tuple[int, int]
) -> "tuple[Value, Value, Value, Value]":
    """Return boxes, scores, classes and count of the best of A places, D of them.

    Equal scores keep the order in which the decoders look at them: class by class for ``ssd``,
    place by place for all others.
    """
    import onnx_ir

    places, wanted = counts
    if spec.decoder == "ssd":
        best, where = draft.top(draft.shaped(scores, 0, -1), wanted)
        classes = draft.node("Div", where, np.int64(places))
        row = draft.node("Mod", where, np.int64(places))
    else:
        by_place = draft.node("Transpose", scores, attributes={"perm": (0, 2, 1)})
        best, where = draft.top(draft.shaped(by_place, 0, -1), wanted)
        classes = draft.node("Mod", where, np.int64(spec.classes))
        row = draft.node("Div", where, np.int64(spec.classes))
    last = np.array([2])
    rows = draft.node("Expand", draft.node("Unsqueeze", row, last), np.array([1, 1, 4]))
    own = draft.node("GatherElements", boxes, rows, attributes={"axis": 1})
    is_found = draft.node("Greater", best, np.float32(spec.score_threshold))
    number = draft.node("Cast", is_found, attributes={"to": int(onnx_ir.DataType.INT64)})
    return (
        draft.node("Where", draft.node("Unsqueeze", is_found, last), own, np.float32(0)),
        draft.node("Where", is_found, best, np.float32(0)),
        draft.node("Where", is_found, classes, np.int64(-1)),
        draft.node("ReduceSum", number, np.array([1]), attributes={"keepdims": 0}),
    )


def _declare_(graph: "Value", outputs: "tuple[Value, ...]", found: int) -> None:
    """Make the values the graph's outputs, with names, types and shapes."""
    import onnx_ir

    kinds = onnx_ir.DataType.FLOAT, onnx_ir.DataType.INT64
    shapes = (("batch", found, 4), ("batch", found), ("batch", found), ("batch",))
    for number, (name, value, shape) in enumerate(zip(OUTPUTS, outputs, shapes, strict=True)):
        value.name, value.shape = name, onnx_ir.Shape(shape)
        value.dtype = kinds[number > 1]
    graph.outputs[:] = list(outputs)
