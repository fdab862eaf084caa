"""Sessions of ONNX Runtime."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from squeeze.core.errors import InputError
from squeeze.runtimes.base import Execution, FileInput, chunks, path_text
from squeeze.runtimes.onnxruntime import SPEC

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from squeeze.runtimes.base import Outputs

    Values = NDArray[np.generic]
    Feeds = tuple[list[dict[str, Values]], int]

OrtSession = Any
"""ONNX Runtime's ``InferenceSession``, which has no types."""

_ERROR = 3
_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
}
"""NumPy's names of the element types that images may have."""


def open_session(path: Path, execution: Execution) -> "OnnxSession":
    """Load an ``.onnx`` file.

    Raises:
        InputError: ONNX Runtime cannot load it.
    """
    return OnnxSession(load_file(path, execution.threads), execution.layout)


def file_input(path: Path) -> FileInput:
    """Return what a file says of its input.

    Raises:
        InputError: ONNX Runtime cannot load it.
    """
    return input_of(load_file(path, 1))


def input_of(session: OrtSession) -> FileInput:
    """Return what a loaded file says of its first input."""
    first = session.get_inputs()[0]
    dims = tuple(side if isinstance(side, int) else None for side in first.shape)
    return FileInput(dims, _TYPES.get(first.type, "float32"))


def try_run(path: Path) -> None:
    """Load a file and run it once on zeros.

    Raises:
        InputError: ONNX Runtime cannot load or run it.
    """
    session = load_file(path, 1)
    feeds = {
        entry.name: np.zeros([n if isinstance(n, int) else 1 for n in entry.shape], np.float32)
        for entry in session.get_inputs()
    }
    try:
        session.run(None, feeds)
    except Exception as error:  # its exceptions share no base class of their own
        raise InputError(f"ONNX Runtime cannot run it: {error}", where=str(path)) from error


def load_file(
    path: Path, threads: int, optimised: Path | None = None, events: Path | None = None
) -> OrtSession:
    """Load a file.

    Args:
        path: The file.
        threads: Inside one operator.
        optimised: Where the graph that runs is written.
        events: Start of the name of the profiler's file; None runs without a profiler.

    Raises:
        InputError: ONNX Runtime cannot load it.
    """
    import onnxruntime

    name = path_text(path, "ONNX Runtime")
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
        return onnxruntime.InferenceSession(name, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class of their own
        raise InputError(f"ONNX Runtime cannot load it: {error}", where=str(path)) from error


class Feed:
    """How a loaded file is fed.

    Attributes:
        batch: Images per call where the file fixes another number than one.
    """

    def __init__(self, session: OrtSession, layout: str | None = None) -> None:
        found = input_of(session)
        self._name, self._type = session.get_inputs()[0].name, np.dtype(found.type)
        self._layout = layout or found.layout(SPEC.layout)
        self.batch = found.batch if found.batch != 1 else None

    def prepared(self, images: "NDArray[np.float32]") -> "list[dict[str, Values]]":
        """Return images ``(N, C, H, W)`` as the file takes them, call by call."""
        parts = chunks(images, self._layout, self.batch)
        return [{self._name: _typed(part, self._type)} for part in parts]


def _typed(values: "NDArray[np.float32]", kind: "np.dtype[np.generic]") -> "Values":
    if not np.issubdtype(kind, np.integer):
        return np.ascontiguousarray(values, kind)
    limits = np.iinfo(kind.name)
    return np.rint(values).clip(limits.min, limits.max).astype(kind)


def _widened(values: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Return other floats as float32, and the rest as it is."""
    is_other_float = np.issubdtype(values.dtype, np.floating) and values.dtype != np.float32
    return values.astype(np.float32) if is_other_float else values


class OnnxSession:
    """One input, all outputs in the file's order, floats as float32."""

    def __init__(self, session: OrtSession, layout: str | None = None) -> None:
        self._session = session
        self._feed = Feed(session, layout)
        self._outputs = [output.name for output in session.get_outputs()]

    def prepare(self, images: "NDArray[np.float32]") -> "Feeds":
        """Bring images into the file's layout, type and batch size, and name the input."""
        return self._feed.prepared(images), len(images)

    def invoke(self, prepared: "Feeds") -> "Outputs":
        """Run one batch."""
        feeds, count = prepared
        runs = [self._session.run(self._outputs, feed) for feed in feeds]
        found = runs[0]
        if self._feed.batch is not None:
            found = [np.concatenate(each)[:count] for each in zip(*runs, strict=True)]
        found = [_widened(each) for each in found]
        return tuple(found) if len(found) > 1 else found[0]

    def close(self) -> None:
        """Drop the session."""
        self._session = None
