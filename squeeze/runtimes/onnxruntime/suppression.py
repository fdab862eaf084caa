"""What ``squeeze::suppress``, suppression inside a two-stage detector, is in ONNX.

Boxes of all images stay what they are and ``NonMaxSuppression`` takes images one by one: moving
them apart by offsets, as is done where an operator knows no images, costs digits of coordinates.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Value = Any
"""A value of a graph that torch's exporters write, or such a graph; neither has a common type."""

_NO_LIMIT = 2**63 - 1
_BOOL = 9


def translations() -> "dict[Callable[..., object], Callable[..., object]]":
    """Return how torch's dynamo exporter writes the operator, if a model has defined it."""
    import torch

    defined = hasattr(torch.ops.squeeze, "suppress")
    return {torch.ops.squeeze.suppress.default: _suppress} if defined else {}


def teach_older_exporter_() -> None:
    """Tell torch's older exporter, which is used to draft files, how to write the operator."""
    import torch
    from torch.onnx.symbolic_helper import parse_args
    from torch.onnx.utils import register_custom_op_symbolic

    if hasattr(torch.ops.squeeze, "suppress"):
        register_custom_op_symbolic("squeeze::suppress", parse_args("v", "v", "f")(_draft), 13)


def _suppress(boxes: Value, scores: Value, overlap: float) -> Value:
    """Return ``(B, n)`` bool for ``(B, n, 4)`` and ``(B, n)``."""
    from onnxscript import opset18 as op

    # every row of what is found: image, class (there is one) and box
    found = op.NonMaxSuppression(boxes, op.Unsqueeze(scores, [1]), _NO_LIMIT, overlap)
    places = op.Gather(found, [0, 2], axis=1)
    ones = op.Expand([1], op.Shape(places, start=0, end=1))
    none = op.Expand([0], op.Shape(scores))
    return op.Cast(op.ScatterND(none, places, ones), to=_BOOL)


def _draft(graph: Value, boxes: Value, scores: Value, overlap: float) -> Value:
    """The same for the older exporter."""
    import torch

    def numbers(*values: int) -> Value:
        return graph.op("Constant", value_t=torch.tensor(values))

    limit = graph.op("Constant", value_t=torch.tensor([overlap]))
    classes = graph.op("Unsqueeze", scores, numbers(1))
    found = graph.op("NonMaxSuppression", boxes, classes, numbers(_NO_LIMIT), limit)
    places = graph.op("Gather", found, numbers(0, 2), axis_i=1)
    count = graph.op("Slice", graph.op("Shape", places), numbers(0), numbers(1))
    ones = graph.op("Expand", numbers(1), count)
    none = graph.op("Expand", numbers(0), graph.op("Shape", scores))
    return graph.op("Cast", graph.op("ScatterND", none, places, ones), to_i=_BOOL)
