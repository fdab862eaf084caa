"""Inner tensors of an ONNX file, read with ONNX Runtime's own debugging tools."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.errors import InputError
from squeeze.core.output import redirect_output
from squeeze.runtimes.onnxruntime import graphs
from squeeze.runtimes.onnxruntime.graphs import Proto
from squeeze.runtimes.onnxruntime.session import Feed, OrtSession
from squeeze.store import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from squeeze.runtimes.base import Activations

_SAVED = "_ReshapedSavedOutput"  # how qdq_loss_debug names what it adds
_AFTER = ("_DequantizeLinear_Output", "_DequantizeLinear_Output_1")
_QUANTIZERS = {"QuantizeLinear", "DequantizeLinear"}


class OnnxActivations:
    """All float activations, computed without graph optimisation.

    A quantized file's activation is taken behind its quantize/dequantize pair: what the next
    layer reads. Tensors that stay integer (QOperator files) cannot be read.

    Attributes:
        behind: Of a tensor that is quantized, the one behind its quantize/dequantize pair, by name.

    Args:
        path: An ``.onnx`` file.
        layout: Of its input, where its shape is ambiguous.

    Raises:
        InputError: ONNX Runtime cannot load it.
    """

    def __init__(self, path: Path, layout: str | None = None) -> None:
        import onnx

        with scratch() as folder, redirect_output(None):
            self._session = _augmented(path, Path(folder) / "augmented.onnx")
        self._feed = Feed(self._session, layout)
        saved = [output.name for output in self._session.get_outputs()]
        self._saved = [name for name in saved if name.endswith(_SAVED)]
        names = {name.removesuffix(_SAVED) for name in self._saved}
        graph = onnx.load(path, load_external_data=False).graph
        self.operators, self.behind = _activations(graph, names)
        self.inside = sum(1 for _ in graphs.nodes(graph)) - len(graph.node)

    def matching(self, other: "Activations") -> dict[str, str]:
        """Match by tensor name, as quantizers keep it."""
        behind = other.behind if isinstance(other, OnnxActivations) else {}
        pairs = {}
        for name in self.operators:
            candidates = [behind.get(name, ""), *(name + end for end in _AFTER), name]
            found = next((each for each in candidates if each in other.operators), None)
            if found is not None:
                pairs[name] = found
        return pairs

    def read(self, images: "NDArray[np.float32]") -> "Iterator[tuple[str, NDArray[np.float32]]]":
        """Run ``(N, C, H, W)`` and return every activation, flat."""
        feed = self._feed.prepared(images)[0]
        for name, values in zip(self._saved, self._session.run(self._saved, feed), strict=True):
            if name.removesuffix(_SAVED) in self.operators:
                yield name.removesuffix(_SAVED), np.asarray(values, np.float32)


def open_activations(path: Path, layout: str | None) -> OnnxActivations:
    """Open a file so that its inner tensors can be read."""
    return OnnxActivations(path, layout)


def _augmented(path: Path, augmented: Path) -> OrtSession:
    import onnxruntime
    from onnxruntime.quantization.qdq_loss_debug import modify_model_output_intermediate_tensors

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        modify_model_output_intermediate_tensors(path, augmented)
        return onnxruntime.InferenceSession(
            str(augmented), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its exceptions share no base class of their own
        raise InputError(f"ONNX Runtime cannot load it: {error}", where=str(path)) from error


def _activations(graph: Proto, readable: set[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return activations with their operators, and what stands behind a quantizer pair.

    Weights, which a dequantize makes from stored values, are no activations; neither is what
    enters a quantizer when the tensor behind it can be read.
    """
    stored = {tensor.name for tensor in graph.initializer}
    constant = set(stored)
    behind: dict[str, str] = {}
    quantized: dict[str, str] = {}
    for node in graph.node:
        if node.op_type in _QUANTIZERS and node.input[0] in constant:
            constant.update(node.output)
        elif node.op_type == "QuantizeLinear":
            quantized[node.output[0]] = node.input[0]
        elif node.op_type == "DequantizeLinear" and node.input[0] in quantized:
            behind.setdefault(quantized[node.input[0]], node.output[0])
    makers = {name: node for node in graph.node for name in node.output}
    names = [n for node in graph.node for n in node.output if n in readable and n not in constant]
    operators = {
        name: str(makers[name].op_type) for name in names if behind.get(name, "") not in readable
    }
    return operators, behind
