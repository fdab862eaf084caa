"""Ranges that leave room for biases.

Runtimes add a bias to a layer's products as a 32-bit integer, whose step is that of the input times
that of the weights. Where hardly anything reaches a layer (the coarsest level of a detector whose
objects are small) the input's step is so fine that its bias overflows; then every output of the
layer is wrong. A wider range costs nothing there: what comes in is lost beside the bias anyway.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_LARGEST_WEIGHT = 127
_STEPS = 255
_LARGEST_BIAS = 2.0**28
"""Of a bias: the rest of the 32 bits is for the products."""
_ALIVE = 2.0**-8
"""Channels with weights below this share of the layer's largest do not decide its input's range."""
CHANNELS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""The output channels' axis of the weights of LiteRT's operators."""


def least_width(weight: "NDArray[Any]", bias: "NDArray[Any]") -> float:
    """Return how wide, from end to end, the range of a layer's input has to be.

    Args:
        weight: ``(C, …)``, a row per output channel.
        bias: ``(C,)``.
    """
    reach = np.abs(weight).reshape(len(weight), -1).max(1).astype(np.float64)
    alive = reach > _ALIVE * reach.max()
    steps = np.abs(bias[alive]) / _LARGEST_BIAS * _LARGEST_WEIGHT / reach[alive]
    return float(steps.max(initial=0.0)) * _STEPS


def widened(
    ranges: "dict[str, tuple[float, float]]", wanted: "Iterable[tuple[str, float]]"
) -> "dict[str, tuple[float, float]]":
    """Return ranges (low, high) by tensor, those that are too narrow with a higher end."""
    found = dict(ranges)
    for name, width in wanted:
        if name in found:
            low, high = found[name]
            found[name] = low, max(high, min(low, 0.0) + width)
    return found


def of_onnx(path: "Path") -> Iterator[tuple[str, float]]:
    """Yield the input of every convolution with a bias, and how wide its range has to be."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    constants = {constant.name: constant for constant in graph.initializer}
    for node in graph.node:
        known = [constants.get(name) for name in node.input[1:3]]
        if node.op_type == "Conv" and len(known) == 2 and None not in known:  # noqa: PLR2004
            weight, bias = (numpy_helper.to_array(constant) for constant in known)
            yield node.input[0], least_width(weight, bias)


def of_litert(interpreter: Any) -> Iterator[tuple[str, float]]:  # noqa: ANN401
    """Yield the same for a float LiteRT file that is open.

    Args:
        interpreter: LiteRT's, with its tensors allocated.
    """
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    for operator in interpreter._get_ops_details():  # noqa: SLF001  (there is no public way)
        axis = CHANNELS.get(operator["op_name"])
        source, *given = (int(index) for index in operator["inputs"])
        if axis is None or len(given) != 2 or given[1] < 0:  # noqa: PLR2004
            continue
        weight, bias = (interpreter.get_tensor(index) for index in given)
        yield str(details[source]["name"]), least_width(np.moveaxis(weight, axis, 0), bias)
