"""Static int8 for LiteRT through ai-edge-quantizer: int8 weights per channel, int8 activations.

The quantizer's own calibration averages the ranges of the images, which clips; here the per-image
ranges are kept and merged by percentile, then handed to it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from squeeze.core.chatter import chatter_to
from squeeze.core.errors import InputError, SqueezeError
from squeeze.methods.quantize.request import Outcome, Request, merged
from squeeze.store import new_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from squeeze.methods.quantize.qat.matching import TrainedRanges
    from squeeze.recipe.schema import Quantization

RUNTIME = "litert"
_LARGEST = 127
_CHANNELS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""The output channels' axis of an operator's weights."""


def quantize(request: Request) -> Outcome:
    """Calibrate and write the int8 ``.tflite``; inputs and outputs stay as the file has them.

    Raises:
        InputError: The file is quantized already.
        SqueezeError: Activations are NaN or infinite, or the quantizer fails.
    """
    try:
        with chatter_to(request.log):
            told = _quantize(request)
    except (SqueezeError, OSError):
        raise
    except Exception as error:
        raise SqueezeError(
            f"ai-edge-quantizer failed: {type(error).__name__}: {error}", where=str(request.source)
        ) from error
    return Outcome(8, (told,))


def bits(step: "Quantization") -> int:
    """Return how many bits weights are going to have: 8, whatever the step asks of ONNX Runtime."""
    del step
    return 8


def _quantize(request: Request) -> str:
    """Write the file and return what to tell of its ranges."""
    from ai_edge_quantizer import quantizer, recipe

    _refuse_quantized(request.source)
    worker = quantizer.Quantizer(str(request.source))
    worker.load_quantization_recipe(recipe.static_wi8_ai8())
    ranges, count = _observe(worker, request)
    told = f"ranges of {count} images merged at percentile {request.step.range_percentile:g}"
    if request.trained is not None:
        told = _take_trained_(ranges, request.source, request.trained)
    result = worker.quantize(ranges)
    with new_file(request.destination) as inside:
        inside.unlink()  # the exporter refuses to overwrite
        result.export_model(str(inside))
    return told


def _take_trained_(ranges: dict[str, Any], path: Path, trained: "TrainedRanges") -> str:
    """Put trained ranges in the place of calibrated ones, and those of the weights beside them.

    Weights that were trained for 7 bits stay what they are: their range is what gives 8 bits the
    same step.
    """
    from ai_edge_litert import interpreter

    float_file = interpreter.Interpreter(
        str(path),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    float_file.allocate_tensors()
    entry = float_file.get_input_details()[0]
    image = np.repeat(trained.image.transpose(0, 2, 3, 1), entry["shape"][0], axis=0)
    float_file.set_tensor(entry["index"], np.ascontiguousarray(image))
    float_file.invoke()
    places = {detail["name"]: detail["index"] for detail in float_file.get_tensor_details()}
    matched = trained.match((name, float_file.get_tensor(places[name])[:1]) for name in ranges)
    for name, (low, high) in matched.ranges.items():
        shape = ranges[name]["min"].shape
        for end, value in (("min", low), ("max", high)):
            ranges[name][end] = np.full(shape, value, np.float32)
    for operator in float_file._get_ops_details():  # noqa: SLF001  (there is no public way)
        if operator["op_name"] in _CHANNELS:
            index = operator["inputs"][1]
            weight = float_file.get_tensor(index)
            name = float_file._get_tensor_details(index, 0)["name"]  # noqa: SLF001
            ranges[name] = _weight_range(weight, _CHANNELS[operator["op_name"]], trained.largest)
    return matched.note


def _weight_range(weight: "NDArray[Any]", axis: int, largest: int) -> dict[str, Any]:
    """Return the range of each output channel with which 8 bits have the trained step."""
    others = tuple(other for other in range(weight.ndim) if other != axis)
    reach = np.abs(weight).max(axis=others, keepdims=True) * (_LARGEST / largest)
    return {"min": -reach, "max": reach}


def _observe(worker: Any, request: Request) -> tuple[dict[str, Any], int]:  # noqa: ANN401
    """Run the quantizer's calibration image by image and merge what it saw.

    Its moving average over one image is that image's own range.
    """
    signature, name, size = _input(request.source)
    seen: dict[str, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {}
    with request.progress.task("calibrating litert", len(request.calibration)) as advance:
        for images in _padded(request, size):
            found = worker.calibrate({signature: [{name: images}]}, num_threads=1)
            for tensor, values in found.items():
                seen.setdefault(tensor, []).append(
                    (np.asarray(values["min"]), np.asarray(values["max"]))
                )
            advance()
    return {tensor: _merge(tensor, ranges, request) for tensor, ranges in seen.items()}, len(
        request.calibration
    )


def _padded(request: Request, size: int) -> "Iterator[NDArray[np.float32]]":
    for images, _ in request.calibration.batches(1):
        yield np.repeat(images.transpose(0, 2, 3, 1), size, axis=0)


def _merge(
    tensor: str, ranges: "list[tuple[NDArray[np.float64], NDArray[np.float64]]]", request: Request
) -> dict[str, Any]:
    low, high = (np.stack([pair[i] for pair in ranges]) for i in (0, 1))
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise SqueezeError(
            f"the activation {tensor} is NaN or infinite on calibration data",
            where=str(request.source),
        )
    whole = merged(np.stack([low, high], axis=-1), request.step.range_percentile)
    return {"min": whole[..., 0].astype(np.float32), "max": whole[..., 1].astype(np.float32)}


def _refuse_quantized(path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    tensors = Interpreter(str(path)).get_tensor_details()
    if any(len(detail["quantization_parameters"]["scales"]) for detail in tensors):
        raise InputError("is already quantized", where=str(path), hint="start from the float model")


def _input(path: Path) -> tuple[str, str, int]:
    """Return the signature, the name of its input and its batch size."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    signature, names = next(iter(interpreter.get_signature_list().items()))
    return signature, names["inputs"][0], int(interpreter.get_input_details()[0]["shape"][0])
