"""Audit an ONNX file against the graph that ONNX Runtime writes after its own optimisation.

The file's quantize/dequantize pairs say nothing: only what is fused at load time runs in int8.
"""

import collections
import math
from typing import Any

from squeeze.runtimes.audit import advice
from squeeze.runtimes.audit.reasons import Graph, reason
from squeeze.runtimes.base import Audit, Coverage, FloatNode, Stored

_INT8 = {
    "QLinearConv",
    "QLinearMatMul",
    "QGemm",
    "ConvInteger",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
    "QAttention",
}
_INT8_CONVOLUTIONS = {"QLinearConv", "ConvInteger"}
_FLOAT = {
    "Conv",
    "FusedConv",
    "NhwcFusedConv",
    "ConvTranspose",
    "MatMul",
    "FusedMatMul",
    "Gemm",
    "FusedGemm",
    "MatMulNBits",
}
_CONVERSIONS = {
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "Transpose",
    "Cast",
    "ReorderInput",
    "ReorderOutput",
}
_QUANTIZERS = {"QuantizeLinear", "DequantizeLinear"}
_FREE = {"Flatten", "Reshape", "Squeeze", "Unsqueeze"}  # they move nothing
_SUMS = {"ConvInteger", "MatMulInteger"}
_KEEPS_TYPE = {"Transpose", "MaxPool", "Concat", "Split", "Slice", "Gather", "Identity"} | _FREE
_BITS_PER_BYTE = 8


def audited(file: Any, optimised: Any, size_bytes: int) -> Audit:  # noqa: ANN401
    """Compare the file's graph with the one that runs.

    Args:
        file: The ``GraphProto`` of the file.
        optimised: The ``GraphProto`` that ONNX Runtime made of it on this machine.
        size_bytes: Of the file, with external data.
    """
    written, runs = Graph(file), Graph(optimised)
    ops = collections.Counter(node.op_type for node in optimised.node)
    survivors = [
        FloatNode(layer(node, written), node.op_type, reason(node, runs, written))
        for node in optimised.node
        if node.op_type in _FLOAT
    ]
    int8 = sum(count for op, count in ops.items() if op in _INT8)
    convolutions = sum(ops[op] for op in _INT8_CONVOLUTIONS)
    found = Audit(
        coverage=Coverage(
            int8,
            int8 + len(survivors),
            survivors,
            {op: count for op, count in sorted(ops.items()) if op in _CONVERSIONS},
            (convolutions, convolutions + sum("Conv" in node.op for node in survivors)),
        ),
        islands=_islands(runs),
        operators=dict(sorted(ops.items())),
        weights=_weights(written),
        activations=dict(sorted(collections.Counter(_activations(runs).values()).items())),
        size_bytes=size_bytes,
    )
    return advice.with_advice(found, _facts(written))


def multiplies(node: Any) -> bool:  # noqa: ANN401
    """Whether a node that runs is a convolution or matrix product, in float or int8."""
    return node.op_type in _FLOAT | _INT8


def converts(node: Any) -> bool:  # noqa: ANN401
    """Whether a node that runs only converts types or layouts."""
    return node.op_type in _CONVERSIONS


def layer(node: Any, written: Graph) -> str:  # noqa: ANN401
    """Return the file's own name of a node that ONNX Runtime renamed or merged with others."""
    if node.name in written.names:
        return str(node.name)
    renamed = str(node.name).removesuffix("_nchwc").removeprefix("InsertedPrecisionFreeCast_")
    waiting, seen = [renamed, str(node.output[0])], {renamed}
    while waiting:
        made = written.producers.get(waiting.pop(0))
        if made is None:
            continue
        if made.op_type in _FLOAT:
            return str(made.name or made.output[0])
        waiting += [name for name in made.input if name not in seen]
        seen.update(made.input)
    return str(node.name or node.output[0])


def _islands(runs: Graph) -> list[FloatNode]:
    """Return float operators between a dequantize and a quantize that are no matrix products."""
    found: list[FloatNode] = []
    others = _FLOAT | _INT8 | _CONVERSIONS | _FREE
    for node in runs.nodes:
        if node.op_type in others or node.op_type.startswith("QLinear"):
            continue
        fed = any(runs.maker(name) in _QUANTIZERS for name in node.input)
        feeds = any(reader.op_type in _QUANTIZERS for reader in runs.readers(node.output))
        if not (fed or feeds):
            continue
        found.append(
            FloatNode(
                str(node.name or node.output[0]),
                node.op_type,
                "ONNX Runtime fused it into no int8 kernel: values are converted around it",
            )
        )
    return found


def _weights(written: Graph) -> dict[str, Stored]:
    stored: dict[str, Stored] = {}
    for tensor in written.initializers.values():
        kind = _ordinary(written.type_name(tensor.data_type))
        before = stored.get(kind, Stored(0, 0))
        size = written.bits(tensor.data_type) * math.prod(tensor.dims) // _BITS_PER_BYTE
        stored[kind] = Stored(before.tensors + 1, before.size_bytes + size)
    return stored


def _ordinary(kind: str) -> str:
    return {"FLOAT": "float32", "DOUBLE": "float64"}.get(kind, kind.lower())


def _activations(runs: Graph) -> dict[str, str]:
    """Return the element type of every tensor between the nodes that run.

    ONNX Runtime writes types for few of them; the operators tell the others'.
    """
    kinds: dict[str, str] = {}
    for node in runs.nodes:
        if node.op_type == "DequantizeLinear" and node.input[0] in runs.initializers:
            continue  # a weight
        for place, name in enumerate(node.output):
            if name:
                kinds[name] = _kind(node, place, runs, kinds)
    return kinds


def _kind(node: Any, place: int, runs: Graph, kinds: dict[str, str]) -> str:  # noqa: ANN401
    kind = "float32"
    if node.op_type == "QuantizeLinear":
        kind = runs.quantized_type(node).lower()
    elif node.op_type.startswith("QLinear") or node.op_type == "QGemm":
        # the last zero point is the output's
        zeros = [runs.initializers[name] for name in node.input if name in runs.initializers]
        types = [runs.type_name(tensor.data_type).lower() for tensor in zeros]
        kind = next((each for each in reversed(types) if each in {"int8", "uint8"}), kind)
    elif node.op_type in _SUMS:
        kind = "int32"
    elif node.op_type == "DynamicQuantizeLinear":
        kind = kind if place == 1 else "uint8"
    elif node.op_type == "Cast":
        kind = _ordinary(runs.type_name(next(a.i for a in node.attribute if a.name == "to")))
    elif node.op_type in _KEEPS_TYPE:
        kind = kinds.get(node.input[0], kind)
    return kind


def _facts(written: Graph) -> advice.Facts:
    ops = {node.op_type for node in written.nodes}
    quantized = bool(
        ops & {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulNBits"}
    ) or any(op in _INT8 for op in ops)
    kinds = {written.type_name(tensor.data_type) for tensor in written.initializers.values()}
    float_stored = sum(
        math.prod(written.initializers[node.input[0]].dims) * 4
        for node in written.nodes
        if node.op_type == "QuantizeLinear" and node.input[0] in written.initializers
    )
    return advice.Facts(
        runtime="ONNX Runtime",
        is_quantized=quantized,
        is_half="FLOAT16" in kinds,
        is_dynamic=bool(ops & {"DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}),
        float_weights_bytes=float_stored,
    )
