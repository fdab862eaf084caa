"""ONNX Runtime on the CPU."""

import collections
import tempfile
from importlib.metadata import version as distribution_version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from squeeze.core.chatter import chatter_to
from squeeze.core.errors import InputError
from squeeze.runtimes.base import Coverage, Execution, FloatNode

if TYPE_CHECKING:
    from numpy.typing import NDArray

ARTIFACT = "onnx"
FIXED_BATCH = False

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
_FLOAT = {
    "Conv",
    "FusedConv",
    "NhwcFusedConv",
    "ConvTranspose",
    "MatMul",
    "FusedMatMul",
    "Gemm",
    "FusedGemm",
}
_CONVERSIONS = {"QuantizeLinear", "DequantizeLinear", "Transpose", "ReorderInput", "ReorderOutput"}
_ERROR = 3


def version() -> str:
    """Return the library's version."""
    return distribution_version("onnxruntime")


def unavailable(device: str) -> str | None:
    """Return why it cannot run here, or None."""
    if find_spec("onnxruntime") is None:
        return "onnxruntime is not installed"
    return None if device == "cpu" else f"onnxruntime runs on cpu only here, not on {device}"


def open_session(path: Path, execution: Execution) -> "OnnxSession":
    """Load an ``.onnx`` file.

    Raises:
        InputError: ONNX Runtime cannot load it.
    """
    return OnnxSession(_load(path, execution.threads))


def _load(path: Path, threads: int, optimised: Path | None = None) -> Any:  # noqa: ANN401
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERROR
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class of their own
        raise InputError(f"ONNX Runtime cannot load it: {error}", where=str(path)) from error


class OnnxSession:
    """One input, first output."""

    def __init__(self, session: Any) -> None:  # noqa: ANN401
        self._session = session
        self._input = session.get_inputs()[0].name
        self._output = [session.get_outputs()[0].name]

    def prepare(self, images: "NDArray[np.float32]") -> "dict[str, NDArray[np.float32]]":
        """Name the input."""
        return {self._input: np.ascontiguousarray(images, np.float32)}

    def invoke(self, prepared: "dict[str, NDArray[np.float32]]") -> "NDArray[np.float32]":
        """Run one batch."""
        return self._session.run(self._output, prepared)[0]  # type: ignore[no-any-return]

    def close(self) -> None:
        """Drop the session."""
        self._session = None


def coverage(path: Path) -> Coverage:
    """Count int8 kernels in the graph that ONNX Runtime writes after its own optimisation.

    The exported file's Q/DQ pairs say nothing: only what is fused at load time runs in int8.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        with chatter_to(None):
            _load(path, 1, optimised)
        graph = onnx.load(optimised, load_external_data=False).graph
    producers = {name: node for node in graph.node for name in node.output}
    survivors = [
        FloatNode(node.name or node.output[0], node.op_type, _reason(node, producers))
        for node in graph.node
        if node.op_type in _FLOAT
    ]
    ops = collections.Counter(node.op_type for node in graph.node)
    int8 = sum(count for op, count in ops.items() if op in _INT8)
    float_convolutions = sum("Conv" in node.op for node in survivors)
    int8_convolutions = ops["QLinearConv"] + ops["ConvInteger"]
    return Coverage(
        int8,
        int8 + len(survivors),
        survivors,
        {op: count for op, count in sorted(ops.items()) if op in _CONVERSIONS},
        (int8_convolutions, int8_convolutions + float_convolutions),
    )


def _reason(node: Any, producers: dict[str, Any]) -> str:  # noqa: ANN401
    fed = [producers[name].op_type for name in node.input if name in producers]
    if "DequantizeLinear" in fed:
        return "its quantize/dequantize pairs were not fused into an int8 kernel"
    return "the quantizer left it in float"
