"""Audit an ONNX file against the graph that ONNX Runtime writes after its own optimisation.

The file's quantize/dequantize pairs say nothing: only what is fused at load time runs in int8.
"""

import collections
import math
from pathlib import Path

from squeeze.core import cpu
from squeeze.core.output import redirect_output
from squeeze.results import AuditedNode, KernelCoverage
from squeeze.runtimes import advice
from squeeze.runtimes.base import Audit, Stored
from squeeze.runtimes.onnxruntime import graphs, session, slow_kernels
from squeeze.runtimes.onnxruntime.graphs import Proto
from squeeze.runtimes.onnxruntime.reasons import RECURRENT, Graph, reason
from squeeze.store import scratch

_Kinds = dict[Graph, dict[str, str]]

_INT8 = {
    "QLinearConv",
    "QLinearMatMul",
    "QGemm",
    "ConvInteger",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
    "DynamicQuantizeLSTM",
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
    "Einsum",
    "DeformConv",
    "Attention",
    "MultiHeadAttention",
} | RECURRENT
_DYNAMIC = {"DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}
_CONVERSIONS = {
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "Transpose",
    "Cast",
    "ReorderInput",
    "ReorderOutput",
}
_ROUNDING = {"QuantizeLinear", "DynamicQuantizeLinear"}
_FREE = {"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Shape"}  # they move nothing
_SUMS = {"ConvInteger", "MatMulInteger"}
_KEEPS_TYPE = {"Transpose", "MaxPool", "Concat", "Split", "Slice", "Gather", "Identity"} | _FREE
_BITS_PER_BYTE = 8


def audit(path: Path) -> Audit:
    """Audit any ONNX file, also those that others made.

    Raises:
        InputError: ONNX Runtime cannot load it.
    """
    import onnx.inliner

    with scratch() as folder:
        optimised = Path(folder) / "optimised.onnx"
        with redirect_output(None):
            session.load_file(path, 1, optimised)
        runs = onnx.load(optimised, load_external_data=False).graph
    graph = onnx.inliner.inline_local_functions(onnx.load(path, load_external_data=False)).graph
    stored = graphs.initializers(graph)
    outside = {e.value for t in stored for e in t.external_data if e.key == "location"}
    files = [path, *(path.parent / name for name in outside)]
    return _audited(graph, runs, sum(file.stat().st_size for file in files))


def _audited(file: Proto, optimised: Proto, size_bytes: int) -> Audit:
    """Compare the file's graph with the one that runs; both with their branches and loop bodies.

    Args:
        file: The ``GraphProto`` of the file.
        optimised: The ``GraphProto`` that ONNX Runtime made of it on this machine.
        size_bytes: Of the file, with external data.
    """
    written, runs = Graph(file), Graph(optimised)
    ops = collections.Counter(node.op_type for each in runs.every() for node in each.nodes)
    kinds = _kinds(runs)
    survivors, slow = _outside(runs, written, kinds)
    heavy = sum(count for op, count in ops.items() if op in _INT8)
    convolutions = sum(ops[op] for op in _INT8_CONVOLUTIONS)
    found = Audit(
        coverage=KernelCoverage(
            heavy - len(slow),
            heavy + len(survivors),
            tuple(survivors),
            {op: count for op, count in sorted(ops.items()) if op in _CONVERSIONS},
            (
                convolutions - sum("Conv" in node.op for node in slow),
                convolutions + sum("Conv" in node.op for node in survivors),
            ),
            tuple(slow),
        ),
        islands=[island for each in runs.every() for island in _islands(each)],
        operators=dict(sorted(ops.items())),
        weights=_weights(written),
        activations=_activations(runs, kinds),
        size_bytes=size_bytes,
    )
    return advice.with_advice(found, _facts(written))


def multiplies(node: Proto) -> bool:
    """Whether a node that runs is a convolution or matrix product, in float or int8."""
    return node.op_type in _FLOAT | _INT8


def converts(node: Proto) -> bool:
    """Whether a node that runs only converts types or layouts."""
    return node.op_type in _CONVERSIONS


def _outside(
    runs: Graph, written: Graph, kinds: "_Kinds"
) -> tuple[list[AuditedNode], list[AuditedNode]]:
    """Return what runs in float, and what runs in slow integer kernels."""
    survivors, slow = [], []
    for each in runs.every():
        for node in each.nodes:
            if node.op_type in _FLOAT:
                why = reason(node, each, written)
                survivors.append(AuditedNode(layer(node, written), node.op_type, why))
            elif node.op_type in _INT8:
                why = slow_kernels.reason(node, each, kinds[each], cpu.host())
                if why:
                    slow.append(AuditedNode(layer(node, written), node.op_type, why))
    return survivors, slow


def layer(node: Proto, written: Graph) -> str:
    """Return the file's own name of a node that ONNX Runtime renamed or merged with others."""
    if any(node.name == other.name for each in written.every() for other in each.nodes):
        return str(node.name or node.output[0])
    renamed = str(node.name).removesuffix("_nchwc").removeprefix("InsertedPrecisionFreeCast_")
    waiting, seen = [renamed, str(node.output[0])], {renamed}
    while waiting:
        name = waiting.pop(0)
        found = (each.producer(name) for each in written.every())
        made = next((each for each in found if each is not None), None)
        if made is None:
            continue
        if made.op_type in _FLOAT:
            return str(made.name or made.output[0])
        waiting += [name for name in made.input if name not in seen]
        seen.update(made.input)
    return str(node.name or node.output[0])


def _islands(runs: Graph) -> list[AuditedNode]:
    """Return float operators beside a dequantize or a quantize that are no matrix products.

    An operator between a quantize and a dequantize runs in integers.
    """
    found: list[AuditedNode] = []
    others = _FLOAT | _INT8 | _CONVERSIONS | _FREE
    for node in runs.nodes:
        if node.op_type in others or node.op_type.startswith("QLinear"):
            continue
        fed = any(_is_widened(runs, name) for name in node.input)
        feeds = any(reader.op_type in _ROUNDING for reader in runs.readers(node.output))
        if not (fed or feeds):
            continue
        found.append(
            AuditedNode(
                str(node.name or node.output[0]),
                node.op_type,
                "ONNX Runtime fused it into no int8 kernel: values are converted around it",
            )
        )
    return found


def _is_widened(runs: Graph, tensor: str) -> bool:
    """Tell whether a tensor is an activation that was an integer before."""
    maker = runs.producer(tensor)
    is_dequantize = maker is not None and maker.op_type == "DequantizeLinear"
    return is_dequantize and runs.constant(maker.input[0]) is None


def _weights(written: Graph) -> dict[str, Stored]:
    stored: dict[str, Stored] = {}
    for tensor in (held for each in written.every() for held in each.initializers.values()):
        kind = _ordinary(written.type_name(tensor.data_type))
        before = stored.get(kind, Stored(0, 0))
        size = written.bits(tensor.data_type) * math.prod(tensor.dims) // _BITS_PER_BYTE
        stored[kind] = Stored(before.tensors + 1, before.size_bytes + size)
    return stored


def _ordinary(kind: str) -> str:
    return {"FLOAT": "float32", "DOUBLE": "float64"}.get(kind, kind.lower())


def _kinds(runs: Graph) -> "_Kinds":
    """Return the element type of every tensor that the nodes of each graph may read.

    ONNX Runtime writes types for few of them; the others' follow from the operators.
    """
    found: _Kinds = {}
    _add_kinds_(runs, {}, found)
    return found


def _add_kinds_(runs: Graph, around: dict[str, str], found: "_Kinds") -> None:
    kinds = dict(around)
    for entry in runs.inputs:
        kind = entry.type.tensor_type.elem_type
        if kind:
            kinds[entry.name] = _ordinary(runs.type_name(kind))
    for node in runs.nodes:
        for place, name in enumerate(node.output):
            if name:
                kinds[name] = _kind(node, place, runs, kinds)
    found[runs] = kinds
    for each in runs.inner:
        _add_kinds_(each, kinds, found)


def _activations(runs: Graph, kinds: "_Kinds") -> dict[str, int]:
    """Count the tensors between nodes that run by element type; weights are left out."""
    counted = collections.Counter(
        kinds[each][name]
        for each in runs.every()
        for node in each.nodes
        if node.op_type != "DequantizeLinear" or each.constant(node.input[0]) is None
        for name in node.output
        if name
    )
    return dict(sorted(counted.items()))


def _kind(node: Proto, place: int, runs: Graph, kinds: dict[str, str]) -> str:
    kind = "float32"
    if node.op_type == "QuantizeLinear":
        kind = runs.quantized_type(node).lower()
    elif node.op_type.startswith("QLinear") or node.op_type == "QGemm":
        # the last zero point is the output's
        zeros = [runs.constant(name) for name in node.input if name]
        types = [runs.type_name(zero.data_type).lower() for zero in zeros if zero is not None]
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
    nodes = [(each, node) for each in written.every() for node in each.nodes]
    ops = {node.op_type for _, node in nodes}
    quantized = bool(
        ops & {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulNBits"}
    ) or any(op in _INT8 for op in ops)
    tensors = [held for each in written.every() for held in each.initializers.values()]
    kinds = {written.type_name(tensor.data_type) for tensor in tensors}
    stored = [
        each.constant(node.input[0]) for each, node in nodes if node.op_type == "QuantizeLinear"
    ]
    return advice.Facts(
        runtime="ONNX Runtime",
        quantizer="onnxruntime.quantization.quantize_static (QUInt8 activations, QInt8 weights per "
        "channel)",
        is_quantized=quantized,
        is_half="FLOAT16" in kinds,
        dynamic=sum(_is_dynamic(node, each) for each, node in nodes),
        float_weights_bytes=sum(math.prod(each.dims) * 4 for each in stored if each is not None),
    )


def _is_dynamic(node: Proto, written: Graph) -> bool:
    """Tell whether a product's input is quantized while running."""
    if node.op_type in _DYNAMIC:
        return True
    return node.op_type in _INT8 and written.maker(node.input[0]) == "DynamicQuantizeLinear"
