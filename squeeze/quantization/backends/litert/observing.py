"""Ranges of the activations of a float LiteRT file, observed in its interpreter."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.quantization import biases
from squeeze.quantization.activation_ranges import Calibration, refuse_empty

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer.quantizer import Quantizer
    from numpy.typing import NDArray

    from squeeze.quantization.request import Request

    Ends = dict[str, NDArray[np.float32]]
    """Arrays ``min`` and ``max``, as ai-edge-quantizer takes a tensor's range."""

CHANNELS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""The output channels' axis of an operator's weights."""
_PADDING = {"PAD", "PADV2", "MIRROR_PAD"}


def ranges(worker: "Quantizer", request: "Request") -> "tuple[dict[str, Ends], str]":
    """Return ``{tensor: {min, max}}`` as ai-edge-quantizer takes it, with a note on them.

    The quantizer's own calibration of one image names the tensors that it needs and the shape of
    their ranges; constants are not among them, their ranges are the quantizer's business.

    Args:
        worker: The quantizer, with its recipe.
        request: The file, calibrator and samples.

    Raises:
        InputError: There are no samples.
        SqueezeError: An activation is NaN or infinite; the first in the graph is named.
    """
    refuse_empty(request.samples)
    calibration = Calibration(request.step.calibrator, str(request.source))
    watched = TensorReader(request.source)
    first, _ = request.samples.batch([0])
    needed = worker.calibrate(watched.samples(first), num_threads=1)
    with request.progress.task("calibrating litert", len(request.samples)) as advance:
        for images, _ in request.samples.batches(1):
            watched.run(images)
            for name, seen in watched.values(needed):
                calibration.see_values(name, seen)
            advance()
    wide = biases.widened(calibration.ranges(), _bias_widths(watched.file))
    found = {name: _ends(ends, needed[name]) for name, ends in wide.items()}
    return found, calibration.note(request.samples)


class TensorReader:
    """A float file whose tensors can all be read.

    Args:
        path: The ``.tflite`` file.
    """

    def __init__(self, path: Path) -> None:
        from ai_edge_litert import interpreter

        self.file = interpreter.Interpreter(
            str(path),
            num_threads=1,
            experimental_preserve_all_tensors=True,
            # delegates would hide operators and their values
            experimental_op_resolver_type=(
                interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            ),
        )
        self.file.allocate_tensors()
        self._entry = self.file.get_input_details()[0]
        self._places = {
            detail["name"]: (detail["index"], subgraph)
            for subgraph in reversed(range(self.file.num_subgraphs()))
            for detail in self.file.get_tensor_details(subgraph)
        }
        operators = self.file._get_ops_details()  # noqa: SLF001  (there is no public way)
        self._padded = {
            (index, 0)
            for operator in operators
            if operator["op_name"] in _PADDING
            for index in operator["outputs"]
        }
        given = [self._entry["index"], *(i for op in operators for i in op["outputs"])]
        self._order = {(index, 0): place for place, index in enumerate(given)}

    def samples(
        self, image: "NDArray[np.float32]"
    ) -> "dict[str, list[dict[str, NDArray[np.float32]]]]":
        """Return one image ``(1, C, H, W)`` as the quantizer takes it."""
        signature, names = next(iter(self.file.get_signature_list().items()))
        return {signature: [{names["inputs"][0]: self._fed(image)}]}

    def run(self, image: "NDArray[np.float32]") -> None:
        """Run one image ``(1, C, H, W)``, repeated to the file's batch size."""
        self.file.set_tensor(self._entry["index"], self._fed(image))
        self.file.invoke()

    def values(self, names: "Iterable[str]") -> "Iterator[tuple[str, NDArray[np.floating]]]":
        """Yield tensors by name, as the file computes them.

        Maximum pooling may be padded with minus infinity, which is not a value: infinities of
        padded tensors are left out.
        """
        last = len(self._order)
        for name in sorted(names, key=lambda name: self._order.get(self._places[name], last)):
            found = self.file.get_tensor(*self._places[name])
            if self._places[name] in self._padded:
                found = found[np.abs(found) < np.finfo(np.float32).max]
            yield name, found

    def first(self, names: "Iterable[str]") -> "Iterator[tuple[str, NDArray[np.floating]]]":
        """Yield tensors by name, of the first image of the batch.

        The converter may have joined the batch with what is beside it: tokens, heads.
        """
        for name in names:
            values = self.file.get_tensor(*self._places[name])
            yield name, np.ravel(values)[: max(1, values.size // self._entry["shape"][0])]

    def _fed(self, image: "NDArray[np.float32]") -> "NDArray[np.float32]":
        whole = np.repeat(image.transpose(0, 2, 3, 1), self._entry["shape"][0], axis=0)
        return np.ascontiguousarray(whole)


def _ends(found: tuple[float, float], needed: "Mapping[str, object]") -> "Ends":
    shape = np.asarray(needed["min"]).shape
    low, high = found
    return {"min": np.full(shape, low, np.float32), "max": np.full(shape, high, np.float32)}


def _bias_widths(interpreter: "Interpreter") -> "Iterator[tuple[str, float]]":
    """Yield the input of every layer with a bias, and how wide its range has to be.

    Args:
        interpreter: With its tensors allocated.
    """
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    for operator in interpreter._get_ops_details():  # noqa: SLF001  (there is no public way)
        axis = CHANNELS.get(operator["op_name"])
        source, *given = (int(index) for index in operator["inputs"])
        if axis is None or len(given) != 2 or given[1] < 0:  # noqa: PLR2004
            continue
        weight, bias = (interpreter.get_tensor(index) for index in given)
        yield str(details[source]["name"]), biases.least_width(np.moveaxis(weight, axis, 0), bias)
