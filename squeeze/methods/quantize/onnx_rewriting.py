"""Operators of an ONNX file that have no int8 kernel, written as some that have one.

Before ranges are looked for: means over height and width, and batch norms that could not be folded.
After quantizing: hard sigmoids, whose sum and scale fit into an int8 sum and the scales around it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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
        gain, shift, mean, variance = (
            numpy_helper.to_array(stored[name]).astype(np.float64) for name in node.input[1:]
        )
        weight = gain / np.sqrt(variance + settings.get("epsilon", 1e-5))
        names = [f"{node.output[0]}_{part}" for part in ("weight", "bias")]
        values = weight[:, None, None, None], shift - mean * weight
        model.graph.initializer.extend(
            numpy_helper.from_array(value.astype(np.float32), name)
            for value, name in zip(values, names, strict=True)
        )
        node.op_type = "Conv"
        node.input[1:] = names
        del node.attribute[:]
        node.attribute.append(onnx.helper.make_attribute("group", len(weight)))
        count += 1
    onnx.save(model, prepared)
    return count


@dataclass(frozen=True)
class _Graph:
    """A quantized file's nodes by what they make, how often tensors are read, and constants."""

    makers: dict[str, Any]
    readers: dict[str, list[Any]]
    stored: dict[str, Any]

    def value(self, name: str) -> "np.ndarray[Any, Any]":
        """Return a constant."""
        from onnx import numpy_helper

        return np.asarray(numpy_helper.to_array(self.stored[name]))


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

    model = onnx.load(quantized)
    graph = _Graph(
        {name: node for node in model.graph.node for name in node.output},
        _readers(model.graph),
        {tensor.name: tensor for tensor in model.graph.initializer},
    )
    found = list(_gates(model.graph, graph))
    for node, quantizer in found:
        _add_(model.graph, graph, node, quantizer)
    onnx.save(model, quantized)
    return len(found)


def _readers(graph: Any) -> dict[str, list[Any]]:  # noqa: ANN401
    found: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found


def _gates(nodes: Any, graph: _Graph) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401
    """Yield hard sigmoids between integers, each with the quantizer behind it."""
    for node in nodes.node:
        if node.op_type != "HardSigmoid":
            continue
        source = graph.makers.get(node.input[0])
        readers = graph.readers.get(node.output[0], [])
        if source is None or source.op_type != "DequantizeLinear" or len(readers) != 1:
            continue
        (quantizer,) = readers
        if quantizer.op_type != "QuantizeLinear" or not _slope(node) > 0:
            continue
        zero = graph.value(quantizer.input[2])
        if zero == np.iinfo(zero.dtype).min:  # 0 is the lowest integer, which clips
            yield node, quantizer


def _slope(node: Any) -> float:  # noqa: ANN401
    return float({**_HARD, **{each.name: each.f for each in node.attribute}}["alpha"])


def _add_(nodes: Any, graph: _Graph, node: Any, quantizer: Any) -> None:  # noqa: ANN401
    """Write one hard sigmoid as a sum, whose integers are what they were."""
    from onnx import helper, numpy_helper

    settings = {**_HARD, **{each.name: each.f for each in node.attribute}}
    offset = settings["beta"] / settings["alpha"]
    zero = graph.value(quantizer.input[2])
    largest = np.iinfo(zero.dtype).max
    constants = {
        "offset": np.asarray(largest, zero.dtype),
        "offset_scale": np.asarray(offset / (int(largest) - int(zero)), np.float32),
        "offset_zero": zero,
        "scale": np.asarray(graph.value(quantizer.input[1]) / settings["alpha"], np.float32),
    }
    names = {part: f"{node.output[0]}_gate_{part}" for part in constants}
    nodes.initializer.extend(
        numpy_helper.from_array(value, names[part]) for part, value in constants.items()
    )
    summand = f"{names['offset']}_float"
    inputs = [names["offset"], names["offset_scale"], names["offset_zero"]]
    place = list(nodes.node).index(node)
    nodes.node.insert(place, helper.make_node("DequantizeLinear", inputs, [summand], summand))
    node.op_type = "Add"
    node.input.append(summand)
    del node.attribute[:]
    quantizer.input[1] = names["scale"]


def _keeps(node: Any) -> bool:  # noqa: ANN401
    """Tell whether a reduction keeps the dimensions that it reduces."""
    return all(each.i == 1 for each in node.attribute if each.name == "keepdims")


def _ranks(graph: Any) -> dict[str, int]:  # noqa: ANN401
    """Return the number of dimensions of the tensors whose shape is known."""
    return {
        info.name: len(info.type.tensor_type.shape.dim)
        for info in (*graph.value_info, *graph.input)
        if info.type.tensor_type.HasField("shape")
    }


def _is_spatial(node: Any, constants: dict[str, Any], ranks: dict[str, int]) -> bool:  # noqa: ANN401
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
