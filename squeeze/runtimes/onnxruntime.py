"""ONNX Runtime on the CPU."""

from collections.abc import Sequence
from importlib.metadata import version as distribution_version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from squeeze.core.chatter import chatter_to
from squeeze.core.errors import InputError
from squeeze.runtimes.base import Audit, Coverage, Execution, Seconds
from squeeze.store import scratch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from squeeze.runtimes.base import Outputs

ARTIFACT = "onnx"
FIXED_BATCH = False

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


def try_run(path: Path) -> None:
    """Load a file and run it once on zeros.

    Raises:
        InputError: ONNX Runtime cannot load or run it.
    """
    session = _load(path, 1)
    feeds = {
        entry.name: np.zeros([n if isinstance(n, int) else 1 for n in entry.shape], np.float32)
        for entry in session.get_inputs()
    }
    try:
        session.run(None, feeds)
    except Exception as error:  # its exceptions share no base class of their own
        raise InputError(f"ONNX Runtime cannot run it: {error}", where=str(path)) from error


def _load(
    path: Path, threads: int, optimised: Path | None = None, events: Path | None = None
) -> Any:  # noqa: ANN401
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERROR
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    if events is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(events)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class of their own
        raise InputError(f"ONNX Runtime cannot load it: {error}", where=str(path)) from error


class OnnxSession:
    """One input, all outputs in the file's order."""

    def __init__(self, session: Any) -> None:  # noqa: ANN401
        self._session = session
        self._input = session.get_inputs()[0].name
        self._outputs = [output.name for output in session.get_outputs()]

    def prepare(self, images: "NDArray[np.float32]") -> "dict[str, NDArray[np.float32]]":
        """Name the input."""
        return {self._input: np.ascontiguousarray(images, np.float32)}

    def invoke(self, prepared: "dict[str, NDArray[np.float32]]") -> "Outputs":
        """Run one batch."""
        found = self._session.run(self._outputs, prepared)
        return tuple(found) if len(found) > 1 else found[0]

    def close(self) -> None:
        """Drop the session."""
        self._session = None


def profile(
    paths: Sequence[Path], execution: Execution, images: "NDArray[np.float32]"
) -> list[Seconds]:
    """Return per file the seconds of every run by layer, the files run in turns."""
    from squeeze.runtimes.audit import onnx_times

    def opened(path: Path, events: Path, optimised: Path) -> Any:  # noqa: ANN401
        return _load(path, execution.threads, optimised, events)

    with scratch() as folder:
        return onnx_times.profile(paths, images, opened, Path(folder))


def coverage(path: Path) -> Coverage:
    """Count int8 kernels in the graph that ONNX Runtime writes after its own optimisation."""
    return audit(path).coverage


def audit(path: Path) -> Audit:
    """Audit any ONNX file, also those that others made.

    Raises:
        InputError: ONNX Runtime cannot load it.
    """
    import onnx.inliner

    from squeeze.runtimes.audit import onnx as onnx_audit
    from squeeze.runtimes.graphs import onnx_graphs

    with scratch() as folder:
        optimised = Path(folder) / "optimised.onnx"
        with chatter_to(None):
            _load(path, 1, optimised)
        runs = onnx.load(optimised, load_external_data=False).graph
    graph = onnx.inliner.inline_local_functions(onnx.load(path, load_external_data=False)).graph
    stored = onnx_graphs.initializers(graph)
    outside = {e.value for t in stored for e in t.external_data if e.key == "location"}
    files = [path, *(path.parent / name for name in outside)]
    return onnx_audit.audited(graph, runs, sum(file.stat().st_size for file in files))
