"""Integer kernels of ONNX Runtime that are slower than its float ones, by the types they are given.

Its matrix product of integers, which convolutions use too, has optimised forms by the signs of its
left and right operand; for the others it runs portable code (``MlasGemmQuantGetDispatch`` in
https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/mlas/lib/qgemm.h and
``platform.cpp`` beside it). x86 has none for a signed left operand unless it knows AVX-VNNI-INT8,
64-bit ARM has none for signed by unsigned. The left operand is the activation; that of
``ConvInteger`` is the weights.

Time beside that of the float operator, ONNX Runtime 1.31, AMD EPYC with AVX-512 VNNI, one thread:

=====================================  ==========  ===========  ==========  ===========
activations by weights                 u8 by s8    u8 by u8     s8 by s8    float, ms
=====================================  ==========  ===========  ==========  ===========
``QLinearConv`` 3x3, 64 channels       0.29        0.76         3.6         0.50
``QLinearConv`` 1x1, 64 channels       0.36        0.74         2.9         0.08
``QLinearConv`` 3x3 of 3 channels      1.8         1.6          10          0.09
``QLinearConv`` 3x3 depthwise          1.8         1.8          2.9         0.03
``ConvInteger`` 3x3, 64 channels       3.9         0.86         4.0         0.50
``ConvInteger`` 3x3 depthwise          30          4.9          22          0.03
``MatMulInteger``, ``QLinearMatMul``   0.4         0.7          4.0         0.08
=====================================  ==========  ===========  ==========  ===========
"""

from collections.abc import Mapping
from dataclasses import dataclass

from squeeze.core import cpu
from squeeze.runtimes.onnxruntime.graphs import Proto
from squeeze.runtimes.onnxruntime.reasons import Graph


@dataclass(frozen=True)
class _Operands:
    """Places of an operator's activations and weights, and of their zero points."""

    data: int
    data_zero: int
    weight: int
    weight_zero: int


_LINEAR, _INTEGER = _Operands(0, 2, 3, 5), _Operands(0, 2, 1, 3)
_OPERANDS = {
    "QLinearConv": _LINEAR,
    "QLinearMatMul": _LINEAR,
    "QGemm": _LINEAR,
    "ConvInteger": _INTEGER,
    "MatMulInteger": _INTEGER,
    "MatMulIntegerToFloat": _Operands(0, 4, 1, 5),
    "QAttention": _Operands(0, 6, 1, 7),
}


def reason(node: Proto, runs: Graph, kinds: Mapping[str, str], processor: cpu.Cpu) -> str:
    """Return why an integer convolution or matrix product is slow; empty if it is not.

    Args:
        node: Of the optimised graph.
        runs: The graph that holds it.
        kinds: Element types of the tensors that it may read.
        processor: Runs the file.
    """
    if node.op_type not in _OPERANDS:
        return ""  # those that quantize their input themselves make it unsigned
    if _is_depthwise(node, runs):
        if node.op_type == "ConvInteger":
            return (
                "ConvInteger has no depthwise kernel and multiplies every channel by itself: leave "
                "it in float, or quantize with static ranges"
            )
        return ""  # a kernel of its own
    places = _OPERANDS[node.op_type]
    data = _kind(node, places.data, places.data_zero, runs, kinds)
    weight = _kind(node, places.weight, places.weight_zero, runs, kinds)
    left, right = (weight, data) if node.op_type == "ConvInteger" else (data, weight)
    if not _is_portable(left, right, processor):
        return ""
    what = "weights" if node.op_type == "ConvInteger" else "activations"
    return (
        f"ONNX Runtime has only its portable kernel for {node.op_type} of {data} activations by "
        f"{weight} weights on this processor ({processor.machine}): quantize {what} to uint8"
    )


def _is_portable(left: str, right: str, processor: cpu.Cpu) -> bool:
    if processor.is_x86:
        return left == "int8" and "avx_vnni_int8" not in processor.features
    return processor.is_arm and (left, right) == ("int8", "uint8")


def _is_depthwise(node: Proto, runs: Graph) -> bool:
    group = next((each.i for each in node.attribute if each.name == "group"), 1)
    weight = runs.constant(node.input[_OPERANDS[node.op_type].weight])
    return group > 1 and weight is not None and weight.dims[0] == group and weight.dims[1] == 1


def _kind(node: Proto, place: int, zero: int, runs: Graph, kinds: Mapping[str, str]) -> str:
    """Return the element type of an operand, by its zero point where its own is not known."""
    for each in (place, zero):
        name = node.input[each] if each < len(node.input) else ""
        tensor = runs.constant(name) if name else None
        if tensor is not None:
            return runs.type_name(tensor.data_type).lower()
    return kinds.get(node.input[place], "uint8")
