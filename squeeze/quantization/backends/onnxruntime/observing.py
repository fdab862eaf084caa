"""Ranges of the activations of a float ONNX file, observed in ONNX Runtime."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.quantization import biases
from squeeze.quantization.activation_ranges import Calibration, refuse_empty

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from onnxruntime import InferenceSession
    from onnxruntime.quantization.calibrate import CalibraterBase

    from squeeze.quantization.request import Request

Range = tuple[float, float]


def ranges(prepared: Path, folder: Path, request: "Request") -> tuple[dict[str, Range], str]:
    """Return the range of every float activation, in the graph's order, with a note on them.

    Where the calibrator looks at minima and maxima only, the runtime computes them in the graph;
    else all activations of one image are in memory at a time.

    Args:
        prepared: The float file, with shapes.
        folder: For files in between.
        request: Its calibrator and samples.

    Raises:
        InputError: There are no samples.
        SqueezeError: An activation is NaN or infinite; the first in the graph is named.
    """
    from onnxruntime.quantization.calibrate import MinMaxCalibrater

    refuse_empty(request.samples)
    calibration = Calibration(request.step.calibrator, str(request.source))
    observed = folder / "observed.onnx"
    calibrater = MinMaxCalibrater(prepared, augmented_model_path=str(observed))
    names = _in_order(calibrater)
    with request.progress.task("calibrating onnxruntime", len(request.samples)) as advance:
        if calibration.needs_values:
            session = _watching(prepared, names)
            for images, _ in request.samples.batches(1):
                for name, seen in _run(session, names, images):
                    calibration.see_values(name, seen)
                advance()
        else:
            calibrater.augment_graph()
            calibrater.create_inference_session()
            for images, _ in request.samples.batches(1):
                for name, low, high in _ends(calibrater.infer_session, names, images):
                    calibration.see_ends(name, low, high)
                advance()
    found = biases.widened(calibration.ranges(), _bias_widths(prepared))
    return found, calibration.note(request.samples)


def values(
    path: Path, names: "Sequence[str]", image: "NDArray[np.float32]"
) -> "Iterator[tuple[str, NDArray[np.floating]]]":
    """Yield tensors of a float file by name, on one image ``(1, C, H, W)``."""
    yield from _run(_watching(path, names), names, image)


def write(ranges: "Mapping[str, Range]", cache: Path) -> None:
    """Write ranges as the quantizer's calibration cache."""
    from onnxruntime.quantization.calibrate import (
        CalibrationMethod,
        TensorData,
        TensorsData,
        save_tensors_data,
    )

    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.items()
    }
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, data), cache)


def _in_order(calibrater: "CalibraterBase") -> list[str]:
    """Return the tensors to observe as the graph computes them; the library's order is random."""
    graph = calibrater.model.graph
    wanted, _ = calibrater.select_tensors_to_calibrate(calibrater.model)
    given = [entry.name for entry in graph.input]
    given += [name for node in graph.node for name in node.output]
    return [name for name in given if name in wanted]


def _watching(path: Path, names: "Sequence[str]") -> "InferenceSession":
    """Open a session whose outputs are these tensors; graph inputs are left out."""
    import onnx
    import onnxruntime

    model = onnx.load(path)
    feed = model.graph.input[0].name
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name != feed)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def _run(
    session: "InferenceSession", names: "Sequence[str]", images: "NDArray[np.float32]"
) -> "Iterator[tuple[str, NDArray[np.floating]]]":
    feed = session.get_inputs()[0].name
    inner = [name for name in names if name != feed]
    if feed in names:
        yield feed, images
    yield from zip(inner, session.run(inner, {feed: images}), strict=True)


def _ends(
    session: "InferenceSession", names: "Sequence[str]", images: "NDArray[np.float32]"
) -> "Iterator[tuple[str, float, float]]":
    outputs = [f"{name}_{end}" for name in names for end in ("ReduceMin", "ReduceMax")]
    found = session.run(outputs, {session.get_inputs()[0].name: images})
    numbers = [float(np.ravel(value)[0]) for value in found]
    yield from zip(names, numbers[::2], numbers[1::2], strict=True)


def _bias_widths(path: Path) -> "Iterator[tuple[str, float]]":
    """Yield the input of every convolution with a bias, and how wide its range has to be."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    constants = {constant.name: constant for constant in graph.initializer}
    for node in graph.node:
        known = [constants.get(name) for name in node.input[1:3]]
        if node.op_type == "Conv" and len(known) == 2 and None not in known:  # noqa: PLR2004
            weight, bias = (numpy_helper.to_array(constant) for constant in known)
            yield node.input[0], biases.least_width(weight, bias)
