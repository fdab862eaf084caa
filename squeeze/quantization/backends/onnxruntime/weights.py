"""Schemes of ONNX files that need no ranges of activations: only what is stored changes."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.errors import InputError, SqueezeError
from squeeze.quantization.recovery import passed_over
from squeeze.quantization.recovery.recover import LARGEST
from squeeze.recipe.two_stage import NO_FP16
from squeeze.runtimes.onnxruntime import graphs

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

_REDUCED = 7
_FULL = 8
_MIDDLE = 128
"""The zero point of weights that are stored unsigned."""
_LARGEST_HALF = 65504.0
_QUANTIZED = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulNBits"}
_INTEGER = {
    "ConvInteger",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
    "DynamicQuantizeLSTM",
    "QGemm",
    "QAttention",
}
_LAYERS = {"Conv", "ConvTranspose", "MatMul", "Gemm", "LSTM", "GRU", "RNN"}
_INSIDE = "inside of branches and loop bodies"
_AXES = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1}
"""The output channels' axis of an operator's weights; that of Gemm depends on an attribute."""


def refuse_quantized(path: Path) -> None:
    """Refuse a file that is quantized or half precision already.

    Raises:
        InputError: It is, as QDQ, with integer operators, or in its weights alone.
    """
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    ops = {node.op_type for node in graphs.nodes(graph)}
    halves = (t for t in graphs.initializers(graph) if t.data_type == onnx.TensorProto.FLOAT16)
    if ops & (_QUANTIZED | _INTEGER) or any(op.startswith("QLinear") for op in ops):
        found = "is already quantized"
    elif any(halves):
        found = "is already half precision"
    else:
        return
    raise InputError(found, where=str(path), hint="start from the float model")


def dynamic(prepared: Path, destination: Path, kept: list[str], *, bits: int) -> str:
    """Write a file that quantizes activations while it runs; its products are int8.

    ONNX Runtime's own quantizer gives a convolution one scale for all of its weights, which leaves
    unequal channels few of the 256 steps. A scale per channel fits into the same graph: weights
    and scales are replaced here. Stored are unsigned integers about 128: ``ConvInteger`` multiplies
    by its weights from the left, and for signed ones there x86 and ARM have portable code only
    (``squeeze/runtimes/onnxruntime/slow_kernels.py``).

    Args:
        prepared: A float file.
        destination: Overwritten.
        kept: Names of nodes that stay float.
        bits: 7 or 8, of the weights.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(prepared)
    floats = {tensor.name: tensor for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    weights = {node.name: floats[node.input[1]] for node in convolutions if node.input[1] in floats}
    computed = [node.name for node in convolutions if node.input[1] not in floats]
    del model.graph.value_info[:]  # the quantizer transposes weights and trips over their shapes
    onnx.save(model, prepared)
    quantize_dynamic(
        str(prepared),
        str(destination),
        per_channel=True,
        reduce_range=bits == _REDUCED,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=[*kept, *computed],  # it cannot quantize weights that are not stored
    )
    count = _per_channel_(destination, weights, LARGEST[bits])
    reasons = _kept_float(model, kept, computed)
    return (
        f"ranges of activations are computed at run time; {count} convolutions scaled per channel"
        f"{passed_over.note(reasons)}"
    )


def _kept_float(
    model: "ModelProto", kept: "Collection[str]", computed: "Collection[str]"
) -> list[str]:
    """Return why convolutions of a dynamic file stay float, a reason for each."""
    outside = [node for node in model.graph.node if "Conv" in node.op_type]
    inside = [node for node in graphs.nodes(model.graph) if "Conv" in node.op_type]
    reasons = [reason for node in outside if (reason := _not_dynamic(node, kept, computed))]
    return reasons + [_INSIDE] * (len(inside) - len(outside))


def _not_dynamic(node: "NodeProto", kept: "Collection[str]", computed: "Collection[str]") -> str:
    """Return why a convolution stays float; empty if it does not."""
    if node.op_type != "Conv":
        return f"{node.op_type}, which has no kernel that computes ranges"
    if node.name in computed:
        return "with weights that are computed"
    return "left in float" if node.name in kept else ""


def _per_channel_(path: Path, weights: "dict[str, TensorProto]", largest: int) -> int:
    """Give every integer convolution of a file weights and scales per channel; return how many."""
    import onnx

    model = onnx.load(path)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    done: set[str] = set()
    for node in model.graph.node:
        if node.op_type != "ConvInteger":
            continue
        source = weights[node.name.removesuffix("_quant")]
        integers, scales = _rounded(onnx.numpy_helper.to_array(source), 0, largest)
        shape = (-1, *[1] * (integers.ndim - 2))  # beside outputs (N, C, H, W)
        zero = np.full(tuple(stored[node.input[3]].dims), _MIDDLE, np.uint8)
        for name, value in (
            (node.input[1], (integers.astype(np.int16) + _MIDDLE).astype(np.uint8)),
            (node.input[3], zero),
            (node.input[1].removesuffix("_quantized") + "_scale", scales.reshape(shape)),
        ):
            stored[name].CopyFrom(onnx.numpy_helper.from_array(value, name))
        done.add(node.input[1])
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return len(done)


def weight_only(prepared: Path, destination: Path, kept: list[str]) -> str:
    """Write a file whose weights are int8 per channel and widened to float before they are used.

    Args:
        prepared: A float file.
        destination: Overwritten.
        kept: Names of nodes that stay float.
    """
    import onnx

    model = onnx.load(prepared)
    graph = model.graph
    floats = {tensor.name: tensor for tensor in graph.initializer}
    axes, left = _weight_axes(graph, kept, floats)
    widened = [_widened(floats[name], axis) for name, axis in axes.items()]
    for tensors, _ in widened:
        graph.initializer.extend(tensors)
    for name in axes:
        graph.initializer.remove(floats[name])
    ordered = [node for _, node in widened] + list(graph.node)
    del graph.node[:]
    graph.node.extend(ordered)
    onnx.checker.check_model(model)
    onnx.save(model, destination)
    layers = sum(node.op_type in _LAYERS for node in graphs.nodes(graph))
    left += [_INSIDE] * (layers - sum(node.op_type in _LAYERS for node in graph.node))
    return (
        f"weights of {len(widened)} layers are int8 per channel{passed_over.note(left)}; products "
        "are computed in float"
    )


def _weight_axes(
    graph: "GraphProto", kept: list[str], floats: "dict[str, TensorProto]"
) -> tuple[dict[str, int], list[str]]:
    """Return the weights to store as int8, each with its channels' axis, and why others are not.

    Args:
        graph: A float graph.
        kept: Names of nodes that stay float.
        floats: The graph's constants; those that two layers use differently are removed from it.
    """
    axes: dict[str, int] = {}
    left: list[str] = []
    for node in graph.node:
        axis = _axis(node)
        reason = _not_stored_small(node, kept, floats)
        if axis is None or reason or node.input[1] not in floats:
            left += [reason] * bool(reason)
            continue
        weight = floats[node.input[1]]
        if axes.setdefault(weight.name, axis % len(weight.dims)) != axis % len(weight.dims):
            del floats[weight.name]
            del axes[weight.name]
            left.append("whose weights two layers use along different axes")
    return axes, left


def _not_stored_small(node: "NodeProto", kept: list[str], floats: "dict[str, TensorProto]") -> str:
    """Return why a layer's weights stay float; empty if they do not, or it is not a layer."""
    if node.op_type in {"LSTM", "GRU", "RNN"}:
        return f"{node.op_type}, whose weights runtimes are not known to read as int8"
    if _axis(node) is None:
        return ""
    if node.name in kept:
        return "left in float"
    is_product = node.op_type == "MatMul"  # maybe of two activations, which is not a layer
    return "" if node.input[1] in floats or is_product else "with weights that are computed"


def _axis(node: "NodeProto") -> int | None:
    """Return the output channels' axis of a node's weights; None where it has none."""
    if node.op_type == "Gemm":
        transposed = any(item.name == "transB" and item.i for item in node.attribute)
        return 0 if transposed else 1
    return _AXES.get(node.op_type)


def _widened(weight: "TensorProto", axis: int) -> "tuple[list[TensorProto], NodeProto]":
    """Return what is stored instead of a weight, and the node that makes the weight of it."""
    import onnx

    array = onnx.numpy_helper.to_array(weight)
    integers, scales = _rounded(array, axis, LARGEST[_FULL])
    names = [f"{weight.name}_{part}" for part in ("int8", "scale", "zero")]
    stored = (integers, scales, np.zeros(len(scales), np.int8))
    node = onnx.helper.make_node(
        "DequantizeLinear", names, [weight.name], f"{weight.name}_widened", axis=axis
    )
    return [onnx.numpy_helper.from_array(v, n) for v, n in zip(stored, names, strict=True)], node


def _rounded(
    weight: "NDArray[np.floating]", axis: int, largest: int
) -> "tuple[NDArray[np.int8], NDArray[np.float32]]":
    """Round to the symmetric grid of each channel; return integers and one scale per channel.

    Raises:
        SqueezeError: A weight is NaN or infinite.
    """
    if not np.isfinite(weight).all():
        raise SqueezeError("a weight is NaN or infinite", hint="look for a training that diverged")
    others = tuple(other for other in range(weight.ndim) if other != axis)
    reach = np.abs(weight).max(axis=others, keepdims=True)
    scales = np.where(reach > 0, reach / largest, 1).astype(np.float32)
    integers = np.rint(weight / scales).clip(-largest, largest).astype(np.int8)
    return integers, scales.ravel()


def half(source: Path, destination: Path) -> str:
    """Write a file of float16 weights and activations whose input and output stay float32.

    Raises:
        SqueezeError: A weight is larger than float16 can hold, or the file places proposals.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(source)
    if any(node.op_type == "RoiAlign" for node in graphs.nodes(model.graph)):
        raise SqueezeError(NO_FP16, where=str(source))
    for tensor in graphs.initializers(model.graph):
        if tensor.data_type == onnx.TensorProto.FLOAT:
            largest = float(np.abs(onnx.numpy_helper.to_array(tensor)).max(initial=0))
            if not largest <= _LARGEST_HALF:
                raise SqueezeError(
                    f"the weight {tensor.name} reaches {largest:.3g}, but fp16 holds at most "
                    f"{_LARGEST_HALF:.0f}",
                    where=str(source),
                    hint="leave the target in fp32, or use an int8 scheme",
                )
    onnx.save(convert_float_to_float16(model, keep_io_types=True), destination)
    return "weights and activations are fp16, input and output fp32"
