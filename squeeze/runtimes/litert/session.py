"""Sessions of LiteRT."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from squeeze.core.errors import InputError
from squeeze.core.output import redirect_output
from squeeze.runtimes.base import Execution, FileInput, chunks, path_text
from squeeze.runtimes.litert import SPEC

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from squeeze.runtimes.base import Outputs

    Values = NDArray[np.generic]

Interpreter = Any
"""LiteRT's interpreter, which has no types."""

_NUMBERED = r"output_\d+"


class TensorDetail(TypedDict):
    """What an interpreter says of a tensor, as far as it is used."""

    index: int
    name: str
    shape: "NDArray[np.int32]"
    shape_signature: "NDArray[np.int32]"
    dtype: type[np.generic]
    quantization: tuple[float, int]
    quantization_parameters: "dict[str, Values]"


def open_session(path: Path, execution: Execution) -> "LiteRtSession":
    """Load a ``.tflite`` file.

    Raises:
        InputError: LiteRT cannot load it.
    """
    return LiteRtSession(load_interpreter(path, execution.threads), execution.layout)


def file_input(path: Path) -> FileInput:
    """Return what a file says of its input.

    Raises:
        InputError: LiteRT cannot load it.
    """
    return input_of(load_interpreter(path, 1))


def input_of(interpreter: Interpreter) -> FileInput:
    """Return what a loaded file says of its first input."""
    detail: TensorDetail = interpreter.get_input_details()[0]
    shape, dynamic = detail["shape"].tolist(), detail["shape_signature"].tolist()
    # a batch that may change is 1 until the tensor is resized
    dims = [
        None if position and side < 0 else size
        for position, (size, side) in enumerate(zip(shape, dynamic or shape, strict=True))
    ]
    scale, zero_point = detail["quantization"]
    return FileInput(tuple(dims), np.dtype(detail["dtype"]).name, float(scale), int(zero_point))


def try_run(path: Path) -> None:
    """Load a file and run it once on zeros.

    Raises:
        InputError: LiteRT cannot load or run it.
    """
    loaded = load_interpreter(path, 1)
    for entry in loaded.get_input_details():
        loaded.set_tensor(entry["index"], np.zeros(entry["shape"], entry["dtype"]))
    try:
        loaded.invoke()
    except (ValueError, RuntimeError) as error:
        raise InputError(f"LiteRT cannot run it: {error}", where=str(path)) from error


def load_interpreter(
    path: Path,
    threads: int,
    *,
    delegates: bool = True,
    keep_tensors: bool = False,
    needs_names: bool = True,
) -> Interpreter:
    """Load a file and make room for its tensors.

    Args:
        path: The file.
        threads: Inside one operator.
        delegates: Whether XNNPACK may take operators.
        keep_tensors: Whether inner tensors can be read after a run.
        needs_names: Whether its tensors will be asked for their names, which must be UTF-8.

    Raises:
        InputError: LiteRT cannot load it.
    """
    with redirect_output(None):
        from ai_edge_litert import interpreter

        kinds = interpreter.OpResolverType
        resolver = kinds.AUTO if delegates else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            loaded = interpreter.Interpreter(
                path_text(path, "LiteRT"),
                num_threads=threads,
                experimental_op_resolver_type=resolver,
                experimental_preserve_all_tensors=keep_tensors,
            )
            loaded.allocate_tensors()
            if needs_names:
                _read_names(loaded)
        except UnicodeDecodeError as error:
            raise InputError("the name of a tensor is not UTF-8", where=str(path)) from error
        except (ValueError, RuntimeError) as error:
            raise InputError(f"LiteRT cannot load it: {error}", where=str(path)) from error
    return loaded


def _read_names(interpreter: Interpreter) -> None:
    """Read the names of all tensors once.

    Raises:
        UnicodeDecodeError: One is not UTF-8.
    """
    wrapped = interpreter._interpreter  # noqa: SLF001  (the public way leaves them out)
    for index in range(wrapped.NumTensors(0)):
        wrapped.TensorName(index, 0)


class LiteRtSession:
    """One input of a fixed batch size, all outputs in the order of the model's.

    The converter names outputs ``output_0``, ``output_1`` and so on in the file's signature; the
    file itself lists them in any order.

    Integer inputs and outputs are converted by the file's own scale and zero point; where it has
    none they are taken as they are.
    """

    def __init__(self, interpreter: Interpreter, layout: str | None = None) -> None:
        self._interpreter = interpreter
        self._input: TensorDetail = interpreter.get_input_details()[0]
        self._outputs = _in_order(interpreter)
        self._batch = int(self._input["shape"][0])
        self._layout = layout or input_of(interpreter).layout(SPEC.layout)

    def prepare(self, images: "NDArray[np.float32]") -> "tuple[list[Values], int]":
        """Bring images into the file's layout and cut them into batches of its size."""
        parts = chunks(images, self._layout, self._batch)
        return [to_type(part, self._input) for part in parts], len(images)

    def invoke(self, prepared: "tuple[list[Values], int]") -> "Outputs":
        """Run all chunks."""
        parts, count = prepared
        runs = []
        for chunk in parts:
            self._interpreter.set_tensor(self._input["index"], chunk)
            self._interpreter.invoke()
            runs.append([self._interpreter.get_tensor(each["index"]) for each in self._outputs])
        found = tuple(
            to_float((each[0] if len(each) == 1 else np.concatenate(each))[:count], detail)
            for each, detail in zip(zip(*runs, strict=True), self._outputs, strict=True)
        )
        return found if len(found) > 1 else found[0]

    def close(self) -> None:
        """Drop the interpreter."""
        self._interpreter = None


def _in_order(interpreter: Interpreter) -> list[TensorDetail]:
    """Return the outputs' details in the order in which the model returns them."""
    details: list[TensorDetail] = interpreter.get_output_details()
    signatures = interpreter.get_signature_list()
    if len(details) == 1 or len(signatures) != 1:
        return details
    named = interpreter.get_signature_runner(next(iter(signatures))).get_output_details()
    if any(re.fullmatch(_NUMBERED, name) is None for name in named):
        return details  # not made by the converter: its own order is all there is
    return [named[name] for name in sorted(named, key=lambda name: int(name.rpartition("_")[2]))]


def to_type(values: "NDArray[np.float32]", detail: TensorDetail) -> "Values":
    """Quantize values to a tensor's type by its scale and zero point, if it has any."""
    kind = detail["dtype"]
    if kind == np.float32:
        return values.astype(np.float32, copy=False)
    if np.issubdtype(kind, np.floating):
        return values.astype(kind)
    scale, zero = detail["quantization"]
    limits = np.iinfo(np.dtype(kind).name)
    quantized = np.rint(values / (scale or 1.0) + zero)
    found: Values = quantized.clip(limits.min, limits.max).astype(kind)
    return found


def to_float(values: "Values", detail: TensorDetail) -> "NDArray[np.float32]":
    """Dequantize a tensor's values by its scale and zero point, if it has any."""
    scale, zero = detail["quantization"]
    if not scale or np.issubdtype(detail["dtype"], np.floating):
        return values.astype(np.float32, copy=False)
    real: NDArray[np.float32] = (values.astype(np.float32) - zero) * np.float32(scale)
    return real
