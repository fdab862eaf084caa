"""Why ONNX Runtime left a convolution or matrix product in float.

Every reason was seen in files built for it with ONNX Runtime 1.31 on x86. A float bias, weights
that are quantized at load and a Clip between weight quantizers are *no* reasons: those layers do
run in int8.
"""

import collections
from typing import TYPE_CHECKING

from squeeze.runtimes.onnxruntime.graphs import Proto, bodies

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
RECURRENT = {"LSTM", "GRU", "RNN"}
_NO_INT8 = {"ConvTranspose"}
_FLOAT_ONLY = RECURRENT | {"Einsum", "DeformConv"}
_PRODUCTS = ("Conv", "MatMul", "Gemm")
_EIGHT_BITS = {"INT8", "UINT8"}


class Graph:
    """An ONNX graph with the ways from tensors to nodes; branches and loop bodies are ``inner``.

    Names are looked up as ONNX does: in the graph itself, then in those around it.

    Args:
        graph: A ``GraphProto``.
        outer: The graph that holds it.
    """

    def __init__(self, graph: Proto, outer: "Graph | None" = None) -> None:
        self.nodes = list(graph.node)
        self.inputs = list(graph.input)
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.outputs = {output.name for output in graph.output}
        self._outer = outer
        self._made = {name: node for node in graph.node for name in node.output}
        self._readers: dict[str, list[Proto]] = collections.defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self._readers[name].append(node)
        self.inner = [Graph(body, self) for node in graph.node for body in bodies(node)]

    def every(self) -> "Iterator[Graph]":
        """Yield this graph and all inside of it."""
        yield self
        for each in self.inner:
            yield from each.every()

    def producer(self, tensor: str) -> Proto:
        """Return the node that makes a tensor; None for inputs and initializers."""
        if tensor in self._made or self._outer is None:
            return self._made.get(tensor)
        return self._outer.producer(tensor)

    def constant(self, tensor: str) -> Proto:
        """Return the ``TensorProto`` of a stored tensor; None of any other."""
        if tensor in self.initializers or self._outer is None:
            return self.initializers.get(tensor)
        return self._outer.constant(tensor)

    def maker(self, tensor: str) -> str:
        """Return the operator that makes a tensor; empty for inputs and initializers."""
        node = self.producer(tensor)
        return "" if node is None else str(node.op_type)

    def readers(self, tensors: "Iterable[str]") -> list[Proto]:
        """Return the nodes that read any of the tensors, here or further inside."""
        names = list(tensors)
        return [
            node
            for each in self.every()
            for name in names
            for node in each._readers.get(name, ())  # noqa: SLF001
        ]

    def quantized_type(self, node: Proto) -> str:
        """Return the integer type of a quantize or dequantize node, UINT8 where it has no zero."""
        zero = next(iter(node.input[2:]), None)
        source = zero or (node.input[0] if node.op_type == _DEQUANTIZE else None)
        tensor = None if source is None else self.constant(source)
        return self.type_name(tensor.data_type) if tensor is not None else "UINT8"

    @staticmethod
    def type_name(kind: int) -> str:
        """Return ONNX's name of an element type."""
        import onnx

        return str(onnx.TensorProto.DataType.Name(kind))

    @classmethod
    def bits(cls, kind: int) -> int:
        """Return the bits of an element as it is stored."""
        import onnx

        name = cls.type_name(kind)
        if name.endswith(("INT4", "FLOAT4E2M1")):
            return 4
        if name.endswith("INT2"):
            return 2
        return int(onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize) * 8


def reason(node: Proto, runs: Graph, written: Graph) -> str:
    """Explain one float node of the optimised graph.

    Args:
        node: A convolution or matrix product.
        runs: The graph of the optimised file that holds it.
        written: The file's graph.
    """
    why = _no_kernel(node)
    if why:
        return why
    fed, weighed = runs.maker(node.input[0]), runs.maker(node.input[1])
    if weighed == _DEQUANTIZE:
        return _unfused(node, runs) if fed == _DEQUANTIZE else _float_input(node, runs)
    if fed == _DEQUANTIZE:
        if runs.constant(node.input[1]) is not None:
            return "its weights are float: quantize them too"
        return "its second operand is made in float while running and quantized nowhere"
    files = (other for each in written.every() for other in each.nodes)
    if any("Quant" in other.op_type or "Integer" in other.op_type for other in files):
        return "the quantizer left it in float: neither its input nor its weights are quantized"
    return "the file does not quantize it"


def _no_kernel(node: Proto) -> str:
    """Say that the runtime has no int8 kernel for a node's operator; empty if it may have one."""
    if node.op_type == "LSTM":
        return (
            "ONNX Runtime has no int8 kernel for LSTM between quantizers: quantize_dynamic makes "
            "DynamicQuantizeLSTM of it"
        )
    if node.op_type in _FLOAT_ONLY:
        return f"ONNX Runtime has no int8 kernel for {node.op_type}"
    if node.op_type == "MatMulNBits":
        bits = next((item.i for item in node.attribute if item.name == "bits"), 4)
        return f"only its weights are quantized ({bits} bits): products are computed in float"
    return ""


def _float_input(node: Proto, runs: Graph) -> str:
    between = runs.producer(node.input[0])
    is_product = between is not None and any(part in between.op_type for part in _PRODUCTS)
    if between is not None and not is_product and runs.maker(between.input[0]) == _DEQUANTIZE:
        return (
            f"its input comes from a {between.op_type} between dequantize and this layer that "
            f"could not be folded: quantize after the {between.op_type}"
        )
    return "only its weights are quantized, its input is float (weight-only): quantize activations"


def _unfused(node: Proto, runs: Graph) -> str:
    if node.op_type in _NO_INT8:
        return f"ONNX Runtime has no int8 kernel for {node.op_type}"
    data, weight = (runs.quantized_type(runs.producer(name)) for name in node.input[:2])
    for what, kind in (("activations", data), ("weights", weight)):
        if kind not in _EIGHT_BITS:
            return (
                f"its {what} are {kind.lower()}, for which ONNX Runtime has no kernel here: "
                f"quantize them to 8 bits"
            )
    readers = runs.readers(node.output)
    quantizers = [reader for reader in readers if reader.op_type == _QUANTIZE]
    why = _float_output(node, runs, [each for each in readers if each.op_type != _QUANTIZE])
    if why or not quantizers:
        return why or "no quantize after its output"
    return _signed(data, runs.quantized_type(quantizers[0]), weight)


def _float_output(node: Proto, runs: Graph, readers: list[Proto]) -> str:
    """Say what reads its output in float; empty if nothing does."""
    if any(name in runs.outputs for name in node.output):
        return "no quantize after its output, which is an output of the model"
    if readers:
        return f"no quantize between its output and the {readers[0].op_type} that reads it"
    if _is_fused_sum(node):
        return "no quantize between its output and the addition that follows"
    return ""


def _is_fused_sum(node: Proto) -> bool:
    """Whether a float fusion took an addition into the convolution: its fourth input."""
    return node.op_type in {"FusedConv", "NhwcFusedConv"} and bool("".join(node.input[3:]))


def _signed(data: str, out: str, weight: str) -> str:
    if "INT8" in {data, out}:
        side = "input" if data == "INT8" else "output"
        return (
            f"its {side} is signed int8 and read by several layers: on x86 ONNX Runtime turns "
            "signed activations to unsigned only where one layer reads them; quantize "
            "activations to uint8 (QUInt8)"
        )
    return (
        f"its {data.lower()} input, {weight.lower()} weights and {out.lower()} output were not "
        "fused into an int8 kernel"
    )
