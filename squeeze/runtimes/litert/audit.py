"""Audit a ``.tflite`` file: LiteRT picks kernels by tensor types, with or without a delegate.

Time beside that of the float operator in XNNPACK, LiteRT 2.3, AMD EPYC with AVX-512 VNNI, one
thread; in brackets that of the built-in kernels, which run what XNNPACK does not take:

==========================  ============  ================  ======================  =========
activations by weights      int8 by int8  float by int8     int16 by int8           float, ms
==========================  ============  ================  ======================  =========
3x3, 64 channels            0.23 (0.92)   0.23 (0.80)       not taken (68)          0.61
1x1, 64 channels            0.35 (1.6)    0.64 (1.7)        not taken (28)          0.07
3x3 depthwise               1.0 (6.5)     not taken (4.5)   not taken (32)          0.03
3x3 in 4 groups             0.29 (13)     0.33 (14)         not taken (61)          0.15
transposed 4x4              0.20 (0.74)   0.25 (57)         not taken (49)          0.48
fully connected, 1024-512   0.26 (2.6)    0.29 (2.5)        not taken (8.4)         0.03
batch product, 196x64x196   not taken (6.6)                                         0.19
==========================  ============  ================  ======================  =========
"""

import collections
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from squeeze.results import AuditedNode, KernelCoverage
from squeeze.runtimes import advice
from squeeze.runtimes.base import Audit, Stored
from squeeze.runtimes.litert import graphs, session
from squeeze.runtimes.litert.graphs import Operator, Subgraph, Tensor

_CONVOLUTIONS = {"CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D", "CONV_3D_TRANSPOSE", "TRANSPOSE_CONV"}
_RECURRENT = {
    "LSTM",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "RNN",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "SVDF",
}
_HEAVY = _CONVOLUTIONS | _RECURRENT | {"FULLY_CONNECTED", "BATCH_MATMUL"}
_CONVERSIONS = {"QUANTIZE", "DEQUANTIZE", "TRANSPOSE", "CAST"}
_BRANCHES = {"IF", "WHILE", "CALL", "CALL_ONCE", "STABLEHLO_COMPOSITE"}
_FLOATS = {"float32", "float16"}
_INTEGERS = {"int8", "uint8", "int4"}
_FAST = {("int8", "int8"), ("uint8", "uint8")}
_WIDE = (
    "its activations are int16: LiteRT multiplies integers in a reference kernel, XNNPACK has "
    "none for them; quantize activations to int8"
)
_BUILT_IN = "XNNPACK does not take {}: LiteRT's built-in kernel runs it"


class _Nodes:
    """What an interpreter runs of the first subgraph: operators, and delegates in their place.

    Args:
        interpreter: With its delegates.
    """

    def __init__(self, interpreter: session.Interpreter) -> None:
        wrapped = interpreter._interpreter  # noqa: SLF001  (there is no public way)
        every = {
            place: Operator(
                wrapped.NodeName(place),
                tuple(int(index) for index in wrapped.NodeInputs(place)),
                tuple(int(index) for index in wrapped.NodeOutputs(place)),
                (),
            )
            for place in range(wrapped.NumNodes())
        }
        self.operators = {place: op for place, op in every.items() if op.name != "DELEGATE"}
        self.delegates = [op for op in every.values() if op.name == "DELEGATE"]

    def taken(self) -> set[int]:
        """Return the places of operators inside of delegates.

        Of a delegate only the outer tensors are known: what lies between them is inside.
        """
        makers = {index: place for place, op in self.operators.items() for index in op.outputs}
        inside: set[int] = set()
        for delegate in self.delegates:
            outer, waiting = set(delegate.inputs), list(delegate.outputs)
            while waiting:
                index = waiting.pop()
                place = makers.get(index)
                if place is None or index in outer or place in inside:
                    continue
                inside.add(place)
                waiting += self.operators[place].inputs
        return inside


class _Scope:
    """A subgraph with the ways from tensors to operators."""

    def __init__(self, graph: Subgraph, outside: Collection[Operator] = ()) -> None:
        self.graph = graph
        self.outside = outside  # of the delegate; unknown of branches and loop bodies
        self.makers = {index: op for op in graph.operators for index in op.outputs}
        self.readers: dict[int, list[str]] = collections.defaultdict(list)
        for op in graph.operators:
            for index in op.inputs:
                self.readers[index].append(op.name)

    def kind(self, index: int) -> str:
        return self.graph.tensors[index].kind if index >= 0 else ""

    def name(self, op: Operator) -> str:
        return self.graph.tensors[op.outputs[0]].name if op.outputs else op.name

    def constants(self) -> list[Tensor]:
        """Return tensors that operators read and none makes: the weights."""
        made = self.makers.keys() | set(self.graph.inputs)
        return [
            tensor
            for index, tensor in enumerate(self.graph.tensors)
            if self.readers.get(index) and index not in made and tensor.size_bytes
        ]

    def operands(self, op: Operator) -> tuple[str, str, str]:
        """Return the types of a heavy operator's activations, weights and output."""
        if op.name in {"TRANSPOSE_CONV", "CONV_3D_TRANSPOSE"}:
            places = (2, 1)  # the output's shape comes first
        else:
            places = (0, 2) if op.name.endswith("LSTM") else (0, 1)
        data, weight = (self.kind(op.inputs[p]) if p < len(op.inputs) else "" for p in places)
        return data, weight, self.kind(op.outputs[0])


def audit(path: Path) -> Audit:
    """Audit any ``.tflite`` file, also those that others made.

    Raises:
        InputError: LiteRT cannot load it.
    """
    delegated = session.load_interpreter(path, 1, needs_names=False)
    return _audited(graphs.subgraphs(path), delegated, path.stat().st_size)


def _audited(every: Sequence[Subgraph], delegated: session.Interpreter, size_bytes: int) -> Audit:
    """Audit a loaded model.

    Args:
        every: All of the file's graphs.
        delegated: An interpreter with LiteRT's default delegate, XNNPACK.
        size_bytes: Of the file.
    """
    nodes = _Nodes(delegated)
    taken = nodes.taken()
    left = [op for place, op in enumerate(every[0].operators) if place not in taken]
    scopes = [_Scope(every[0], left), *(_Scope(graph) for graph in every[1:])]
    operators = [(scope, op) for scope in scopes for op in scope.graph.operators]
    ops = collections.Counter(op.name for _, op in operators)
    heavy = [(scope, op) for scope, op in operators if op.name in _HEAVY]
    constants = [tensor for scope in scopes for tensor in scope.constants()]
    found = Audit(
        coverage=_coverage(heavy, ops),
        islands=[island for scope in scopes for island in _islands(scope)],
        operators=dict(sorted(ops.items())),
        weights=_weights(constants),
        activations=dict(
            collections.Counter(scope.kind(i) for scope in scopes for i in scope.makers)
        ),
        size_bytes=size_bytes,
        delegated=(len(taken), len(nodes.operators)),
    )
    facts = advice.Facts(
        runtime="LiteRT",
        quantizer="ai-edge-quantizer",
        is_quantized=any(tensor.is_quantized for tensor in constants),
        is_half=any(tensor.kind == "float16" for tensor in constants),
        dynamic=sum(_is_dynamic(op, scope) for scope, op in heavy),
        delegate="XNNPACK",
        undelegated=tuple(op.name for op in left if op.name not in _BRANCHES),
    )
    return advice.with_advice(found, facts)


def _coverage(heavy: Sequence[tuple[_Scope, Operator]], ops: Mapping[str, int]) -> KernelCoverage:
    """Count the kernels of convolutions, matrix products and recurrent layers."""
    slow = [_node(scope, op, why) for scope, op in heavy if (why := _slow(op, scope))]
    survivors = [_node(scope, op, why) for scope, op in heavy if (why := _float(op, scope))]
    convolutions = sum(op.name in _CONVOLUTIONS for _, op in heavy)
    outside = sum(node.op in _CONVOLUTIONS for node in (*survivors, *slow))
    return KernelCoverage(
        len(heavy) - len(survivors) - len(slow),
        len(heavy),
        tuple(survivors),
        {op: count for op, count in sorted(ops.items()) if op in _CONVERSIONS},
        (convolutions - outside, convolutions),
        tuple(slow),
    )


def _node(scope: _Scope, op: Operator, why: str) -> AuditedNode:
    return AuditedNode(scope.name(op), op.name, why)


def _is_dynamic(op: Operator, scope: _Scope) -> bool:
    """Tell whether its kernel quantizes the input while it runs."""
    data, weight, out = scope.operands(op)
    return weight in _INTEGERS and data in _FLOATS and out in _FLOATS


def _slow(op: Operator, scope: _Scope) -> str:
    """Return why it runs in integers, but slowly; empty if it does not."""
    data, weight, out = scope.operands(op)
    if weight in {*_INTEGERS, "int16"} and (data, out) == ("int16", "int16"):
        return _WIDE
    if _is_dynamic(op, scope) and op.name == "DEPTHWISE_CONV_2D":
        return _BUILT_IN.format(f"a {op.name} of float activations by {weight} weights")
    is_int8 = weight in _INTEGERS and ((data, out) in _FAST or _is_dynamic(op, scope))
    what = f"this {op.name} of {data} by {weight}"
    return _BUILT_IN.format(what) if is_int8 and op in scope.outside else ""


def _float(op: Operator, scope: _Scope) -> str:
    """Return why it does not run in an integer kernel; empty if it does."""
    data, weight, out = scope.operands(op)
    if weight in _INTEGERS and ((data, out) in _FAST or _is_dynamic(op, scope)):
        return ""
    if _slow(op, scope):
        return ""
    if op.name == "CONV_3D":
        return "LiteRT has no int8 kernel for CONV_3D"
    maker = scope.makers.get(op.inputs[1])
    if maker is not None and maker.name == "DEQUANTIZE":
        stored = scope.kind(maker.inputs[0])
        return f"its weights are stored as {stored} and dequantized: the product is float"
    if {data, weight, out} <= _FLOATS:
        return "the file does not quantize it: input, weights and output are float"
    return f"LiteRT has no int8 kernel for a {data} input, {weight} weights and a {out} output"


def _islands(scope: _Scope) -> list[AuditedNode]:
    """Return float operators beside a dequantize or a quantize that are no matrix products.

    What reads or gives integers runs in integers, also before a quantize, which may only change
    their scale.
    """
    found = []
    for op in scope.graph.operators:
        if op.name in _HEAVY | _CONVERSIONS | _BRANCHES:
            continue
        fed = any(_is_widened(scope, index) for index in op.inputs)
        feeds = any(
            scope.kind(index) in _FLOATS and "QUANTIZE" in scope.readers[index]
            for index in op.outputs
        )
        if fed or feeds:
            why = "runs in float between integer operators: values are converted around it"
            found.append(_node(scope, op, why))
    return found


def _is_widened(scope: _Scope, index: int) -> bool:
    """Tell whether a tensor is an activation that was an integer before."""
    maker = scope.makers.get(index)
    if maker is None or maker.name != "DEQUANTIZE" or scope.kind(index) not in _FLOATS:
        return False
    source = maker.inputs[0]
    return source in scope.makers or source in scope.graph.inputs


def _weights(constants: Sequence[Tensor]) -> dict[str, Stored]:
    stored: dict[str, Stored] = {}
    for tensor in constants:
        before = stored.get(tensor.kind, Stored(0, 0))
        size = before.size_bytes + tensor.size_bytes
        stored[tensor.kind] = Stored(before.tensors + 1, size)
    return stored
