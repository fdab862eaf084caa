"""Nodes at the end of a finished ONNX graph."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

Value = Any
"""A tensor of a graph, or the graph: onnx_ir's, which has no types to check against here."""


class Draft:
    """Appends nodes to a graph; what is not a tensor of the graph becomes a constant.

    Args:
        graph: An ``onnx_ir.Graph``.
    """

    def __init__(self, graph: Value) -> None:
        from onnx_ir.tape import Tape

        self._tape = Tape(graph)
        self._constants = 0

    def node(
        self,
        operator: str,
        *inputs: "Value | ArrayLike",
        attributes: "Mapping[str, int | tuple[int, ...]] | None" = None,
    ) -> Value:
        """Append an operator of ONNX's own set and return its only output."""
        return self._tape.op(operator, [self._value(one) for one in inputs], attributes)

    def top(self, scores: Value, count: int) -> "tuple[Value, Value]":
        """Return the largest values along the last axis, falling, and where they are."""
        counts = self._value(np.array([count], np.int64))
        values, places = self._tape.op_multi_out("TopK", [scores, counts], num_outputs=2)
        return values, places

    def columns(self, tensor: Value, first: int, last: int, *, axis: int = -1) -> Value:
        """Return ``[first, last)`` of an axis."""
        limits = (np.array([number], np.int64) for number in (first, last, axis))
        return self.node("Slice", tensor, *limits)

    def shaped(self, tensor: Value, *shape: int) -> Value:
        """Reshape; 0 keeps a dimension, -1 takes what is left."""
        return self.node("Reshape", tensor, np.array(shape, np.int64))

    def joined(self, *tensors: Value, axis: int = -1) -> Value:
        """Concatenate."""
        return self.node("Concat", *tensors, attributes={"axis": axis})

    def zeros_like(self, tensor: Value) -> Value:
        """Return zeros of a tensor's shape, float32."""
        return self.node("ConstantOfShape", self.node("Shape", tensor))

    def _value(self, given: "Value | ArrayLike") -> Value:
        import onnx_ir

        if isinstance(given, onnx_ir.Value):
            return given
        array = np.asarray(given)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        self._constants += 1
        return self._tape.initializer(onnx_ir.tensor(array, name=f"detect.{self._constants}"))
