"""Which operators of an ONNX graph get quantizers around them.

A convolutional network is quantized throughout: its sums, products and poolings have int8 kernels,
and a float one between two convolutions would cost a dequantize and a quantize. Hard-swish and SiLU
stay a sigmoid and a product, whose rounding is their own.

In a network with layer norms this would do harm. ONNX Runtime has no int8 kernel for layer norm and
GELU, so values return to float behind every product anyway, and a residual stream that is rounded
to 8 bits at each of its sums loses what its largest channel does not need. There only convolutions
and matrix products are quantized, on their inputs: ``MatMulIntegerToFloat`` adds integers and gives
float, which the bias, GELU, softmax and layer norm take as it is, and these are fused again.
Products of attention, of two activations, run in int8 too. Measured on a DeiT-tiny of three blocks
with random weights: 29.6 dB instead of 9.3, with as many products in int8 and 26 conversions of
type instead of 41.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SPATIAL = {2, 3}  # of (N, C, H, W)
_NORM = "LayerNormalization"
_ELEMENTWISE = {_NORM, "Add", "Mul", "Softmax", "Sigmoid", "Where", "InstanceNormalization"}


@dataclass(frozen=True)
class Choice:
    """What ``quantize_static`` is told.

    Attributes:
        types: Operators to quantize; None for all that it knows.
        options: Its extra options.
        note: For the report; empty where nothing is special.
    """

    types: list[str] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    note: str = ""


def choose(prepared: Path) -> Choice:
    """Return what to quantize of a float file."""
    import onnx
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    kinds = {node.op_type for node in onnx.load(prepared, load_external_data=False).graph.node}
    if _NORM not in kinds:
        return Choice()
    types = sorted((set(QLinearOpsRegistry) | set(QDQRegistry)) - _ELEMENTWISE)
    return Choice(
        types,
        {"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
        "layer norms: convolutions and matrix products are int8, what lies between them is float",
    )


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
