"""Operators of an ONNX file that have no int8 kernel, written as some that have one.

Before ranges are looked for: means over height and width, and batch norms that could not be folded.
After quantizing: hard sigmoids, whose sum and scale fit into an int8 sum and the scales around it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from onnx import GraphProto, NodeProto, TensorProto

_SPATIAL = {2, 3}  # of (N, C, H, W)
_HARD = {"alpha": 0.2, "beta": 0.5}
"""The defaults of ``HardSigmoid(x) = clip(alpha x + beta, 0, 1)``, which exporters leave out."""


def pool_(prepared: Path) -> None:
    """Turn means over height and width into global average pooling, in place.

    Torch's exporter writes them as ``ReduceMean``, which has no int8 kernel in ONNX Runtime; the
    pooling has one, so that squeeze-excite blocks need no conversions around their mean.
    """
    import onnx

    model = onnx.load(prepared)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    ranks = _ranks(model.graph)
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        if node.op_type != "ReduceMean" or not _is_spatial(node, constants, ranks):
            continue
        keeps = _keeps(node)
        node.op_type = "GlobalAveragePool"
        del node.input[1:]
        del node.attribute[:]
        if not keeps:
            given, node.output[0] = node.output[0], f"{node.output[0]}_pooled"
            name = f"{node.name}_flatten"
            nodes.append(onnx.helper.make_node("Flatten", [node.output[0]], [given], name))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, prepared)


def scale_(prepared: Path) -> int:
    """Turn batch norms of ``(N, C, H, W)`` into convolutions of one weight per channel, in place.

    Those before which there is no convolution to fold them into are left, as in DenseNet. ONNX
    Runtime runs them in float, and its quantizer rounds their scales. A weight that is alone in
    its channel is an integer times the channel's scale without any rounding.

    Returns:
        How many.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(prepared)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    ranks, count = _ranks(model.graph), 0
    for node in model.graph.node:
        settings = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        if (
            node.op_type != "BatchNormalization"
            or settings.get("training_mode")
            or ranks.get(node.input[0]) != max(_SPATIAL) + 1
            or not all(name in stored for name in node.input[1:])
        ):
            continue
        parameters = [numpy_helper.to_array(stored[name]) for name in node.input[1:]]
        weight, bias = _scale_and_bias(parameters, settings.get("epsilon", 1e-5))
        names = [f"{node.output[0]}_scaling_{part}" for part in ("weight", "bias")]
        model.graph.initializer.extend(
            numpy_helper.from_array(value.astype(np.float32), name)
            for value, name in zip((weight[:, None, None, None], bias), names, strict=True)
        )
        node.op_type = "Conv"
        node.input[1:] = names
        del node.attribute[:]
        node.attribute.append(onnx.helper.make_attribute("group", len(weight)))
        count += 1
    onnx.save(model, prepared)
    return count


def _scale_and_bias(
    parameters: "Sequence[NDArray[np.floating]]", epsilon: float
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Return what a batch norm multiplies by and adds, from its gain, shift, mean and variance."""
    gain, shift, mean, variance = (each.astype(np.float64) for each in parameters)
    weight = gain / np.sqrt(variance + epsilon)
    return weight, shift - mean * weight


def gate_(quantized: Path) -> int:
    """Turn hard sigmoids between integers into sums of integers, in place.

    ``clip(a x + b, 0, 1)`` is ``a clip(x + b/a, 0, 1/a)``. Rounding clips too, since integers end
    where the range does, and ``a`` is what the scale at which the sum is rounded has more than
    the one at which its integers are read: the integers are those of before. In float, the three
    operators between two integer ones took a seventh of a small MobileNetV3's time.

    Args:
        quantized: With quantize/dequantize pairs.

    Returns:
        How many.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(quantized)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    found = 0
    for node, quantizer in list(_gates(model.graph)):
        scale, zero = (numpy_helper.to_array(stored[name]) for name in quantizer.input[1:])
        if _clips(node, scale, zero):
            _add_(model.graph, node, quantizer, scale, zero)
            found += 1
    onnx.save(model, quantized)
    return found


def _gates(graph: "GraphProto") -> "Iterator[tuple[NodeProto, NodeProto]]":
    """Yield hard sigmoids between integers, each with the quantizer behind it."""
    makers = {name: node.op_type for node in graph.node for name in node.output}
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in graph.node:
        if node.op_type != "HardSigmoid" or makers.get(node.input[0]) != "DequantizeLinear":
            continue
        behind = readers.get(node.output[0], [])
        if [each.op_type for each in behind] == ["QuantizeLinear"]:
            yield node, behind[0]


def _settings(node: "NodeProto") -> dict[str, float]:
    return {**_HARD, **{each.name: each.f for each in node.attribute}}


def _clips(node: "NodeProto", scale: "NDArray[np.float32]", zero: "NDArray[np.integer]") -> bool:
    """Tell whether rounding to the output's integers cuts off at 0 and at 1, or before."""
    lowest, highest = np.iinfo(zero.dtype).min, np.iinfo(zero.dtype).max
    positive = min(_settings(node).values()) > 0
    return bool(positive and zero == lowest and 1 / scale > highest - lowest - 0.5)


def _add_(
    graph: "GraphProto",
    node: "NodeProto",
    quantizer: "NodeProto",
    scale: "NDArray[np.float32]",
    zero: "NDArray[np.integer]",
) -> None:
    """Write one hard sigmoid as a sum, whose integers are what they were."""
    from onnx import helper, numpy_helper

    settings = _settings(node)
    largest = np.iinfo(zero.dtype).max
    summand = settings["beta"] / settings["alpha"]
    constants = {
        "offset": np.asarray(largest, zero.dtype),
        "offset_scale": np.asarray(summand / (largest - int(zero)), np.float32),
        "offset_zero": zero,
        "scale": np.asarray(scale / settings["alpha"], np.float32),
    }
    names = {part: f"{node.output[0]}_gate_{part}" for part in constants}
    graph.initializer.extend(
        numpy_helper.from_array(value, names[part]) for part, value in constants.items()
    )
    widened = f"{names['offset']}_float"
    inputs = [names["offset"], names["offset_scale"], names["offset_zero"]]
    place = list(graph.node).index(node)
    graph.node.insert(place, helper.make_node("DequantizeLinear", inputs, [widened], widened))
    node.op_type = "Add"
    node.input.append(widened)
    del node.attribute[:]
    quantizer.input[1] = names["scale"]


def _keeps(node: "NodeProto") -> bool:
    """Tell whether a reduction keeps the dimensions that it reduces."""
    return all(each.i == 1 for each in node.attribute if each.name == "keepdims")


def _ranks(graph: "GraphProto") -> dict[str, int]:
    """Return the number of dimensions of the tensors whose shape is known."""
    return {
        info.name: len(info.type.tensor_type.shape.dim)
        for info in (*graph.value_info, *graph.input)
        if info.type.tensor_type.HasField("shape")
    }


def _is_spatial(
    node: "NodeProto", constants: "dict[str, TensorProto]", ranks: dict[str, int]
) -> bool:
    from onnx import numpy_helper

    rank = ranks.get(node.input[0], 0)
    settings = {each.name: each for each in node.attribute}
    if rank != max(_SPATIAL) + 1:
        return False
    if "axes" in settings:
        axes = list(settings["axes"].ints)
    elif len(node.input) > 1 and node.input[1] in constants:
        axes = [int(axis) for axis in numpy_helper.to_array(constants[node.input[1]])]
    else:
        return False
    return {axis % rank for axis in axes} == _SPATIAL
