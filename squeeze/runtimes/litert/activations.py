"""Inner tensors of a ``.tflite`` file, kept by an interpreter without delegates."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.runtimes.base import chunks
from squeeze.runtimes.litert import SPEC, graphs
from squeeze.runtimes.litert.session import (
    Interpreter,
    TensorDetail,
    input_of,
    load_interpreter,
    to_float,
    to_type,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from squeeze.runtimes.base import Activations

_CONVERSIONS = {"QUANTIZE", "DEQUANTIZE"}


class _Tensors:
    """The tensors and operators of an interpreter's first subgraph by index.

    Args:
        interpreter: Without delegates.
    """

    def __init__(self, interpreter: Interpreter) -> None:
        details: list[TensorDetail] = interpreter.get_tensor_details()
        self.details = {detail["index"]: detail for detail in details}
        # there is no public way to the operators
        self.operators = interpreter._get_ops_details()  # noqa: SLF001
        self.producers = {index: op for op in self.operators for index in op["outputs"]}

    def kind(self, index: int) -> str:
        """Return a tensor's element type; empty for a missing optional one."""
        return np.dtype(self.details[index]["dtype"]).name if index in self.details else ""


class LiteRtActivations:
    """All activations, dequantized by their own scale and zero point.

    The built-in kernels compute them: XNNPACK keeps no inner tensors.

    Args:
        path: A ``.tflite`` file.
        layout: Of its input, where its shape is ambiguous.

    Raises:
        InputError: LiteRT cannot load it.
    """

    def __init__(self, path: Path, layout: str | None = None) -> None:
        self._interpreter = load_interpreter(path, 1, delegates=False, keep_tensors=True)
        self._layout = layout or input_of(self._interpreter).layout(SPEC.layout)
        tensors = _Tensors(self._interpreter)
        self.inside = sum(len(each.operators) for each in graphs.subgraphs(path)[1:])
        self._details: dict[str, TensorDetail] = {}
        self.operators: dict[str, str] = {}
        for index, op in tensors.producers.items():
            kind = tensors.kind(index)
            is_number = kind.startswith("float") or bool(
                len(tensors.details[index]["quantization_parameters"]["scales"])
            )
            if op["op_name"] in _CONVERSIONS or not is_number:
                continue
            name = str(tensors.details[index]["name"])
            self._details[name] = tensors.details[index]
            self.operators[name] = str(op["op_name"])

    def matching(self, other: "Activations") -> dict[str, str]:
        """Match by tensor name, as the quantizer keeps it."""
        return {name: name for name in self.operators if name in other.operators}

    def read(self, images: "NDArray[np.float32]") -> "Iterator[tuple[str, NDArray[np.float32]]]":
        """Run ``(N, C, H, W)`` in the file's batch size and return every activation."""
        feed = self._interpreter.get_input_details()[0]
        filled = chunks(images, self._layout, int(feed["shape"][0]))[0]
        self._interpreter.set_tensor(feed["index"], to_type(filled, feed))
        self._interpreter.invoke()
        for name, detail in self._details.items():
            yield name, to_float(self._interpreter.get_tensor(detail["index"]), detail)


def open_activations(path: Path, layout: str | None) -> LiteRtActivations:
    """Open a file so that its inner tensors can be read."""
    return LiteRtActivations(path, layout)
