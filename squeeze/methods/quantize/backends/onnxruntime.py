"""Static int8 for ONNX Runtime: QDQ, per-channel QInt8 weights, QUInt8 activations.

QUInt8 activations with QInt8 weights are what ONNX Runtime fuses into int8 kernels on x86; the
quantizer's own default (QInt8 activations) leaves part of the convolutions in float there. Source:
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html and measurement.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from squeeze.core import cpu
from squeeze.core.chatter import chatter_to
from squeeze.core.errors import InputError, SqueezeError
from squeeze.methods.quantize.request import Outcome, Request, merged
from squeeze.store import new_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from squeeze.recipe.schema import Quantization

RUNTIME = "onnxruntime"
_FULL, _REDUCED = 8, 7


def quantize(request: Request) -> Outcome:
    """Calibrate and write the int8 ``.onnx``.

    Memory does not grow with the number of samples: per image, two numbers per tensor are kept.

    Raises:
        InputError: The file is quantized already.
        SqueezeError: A tensor's values are NaN or infinite, or the quantizer fails.
    """
    bits, reason = weight_bits(request.step.weight_bits, cpu.host())
    try:
        with tempfile.TemporaryDirectory() as folder, chatter_to(request.log):
            told = _quantize(request, Path(folder), reduced=bits == _REDUCED)
    except (SqueezeError, OSError):
        raise
    except Exception as error:
        raise SqueezeError(
            f"ONNX Runtime's quantizer failed: {type(error).__name__}: {error}",
            where=str(request.source),
        ) from error
    if request.trained is not None:
        reason = f"{bits}-bit weights, as they were trained"
    return Outcome(bits, (reason, *told))


def bits(step: "Quantization") -> int:
    """Return how many bits weights are going to have."""
    return weight_bits(step.weight_bits, cpu.host())[0]


def _quantize(request: Request, folder: Path, *, reduced: bool) -> list[str]:
    """Write the file and return what to tell of its ranges."""
    prepared, cache = folder / "prepared.onnx", folder / "ranges.json"
    _prepare(request.source, prepared)
    names, ranges = _observe(prepared, folder / "observed.onnx", request)
    percentile = request.step.range_percentile
    found = merged(ranges, percentile)
    told = [f"ranges of {len(ranges)} images merged at percentile {percentile:g}"]
    if request.trained is not None:
        matched = request.trained.match(_values(prepared, names, request.trained.image))
        for place, name in enumerate(names):
            found[place] = matched.ranges.get(name, found[place])
        told = [matched.note]
    _write_ranges(cache, names, found)
    with new_file(request.destination) as inside:
        _insert_qdq(prepared, inside, cache, reduced=reduced)
    return told


def _values(
    path: Path, names: list[str], image: "NDArray[np.float32]"
) -> "Iterator[tuple[str, NDArray[Any]]]":
    """Yield tensors of a float file by name, on one image."""
    import onnx
    import onnxruntime

    model = onnx.load(path)
    feed = model.graph.input[0].name
    inner = [name for name in names if name != feed]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    yield feed, image
    yield from zip(inner, session.run(inner, {feed: image}), strict=True)


def weight_bits(wanted: str | int, host: cpu.Cpu) -> tuple[int, str]:
    """Choose 7- or 8-bit weights, with the reason.

    x86 without VNNI adds two u8 x s8 products in 16 bits, which saturates on 8-bit weights.
    """
    if wanted != "auto":
        return int(wanted), f"{wanted}-bit weights: set in the recipe"
    if host.is_x86 and not host.has_vnni:
        return _REDUCED, "7-bit weights: this x86 CPU has no VNNI, 8 bits would saturate"
    why = "has VNNI" if host.is_x86 else "does not saturate"
    return _FULL, f"8-bit weights: this {host.machine} CPU {why}"


def _prepare(source: Path, prepared: Path) -> None:
    """Infer shapes and fold batch norms, so that ranges are those of the fused graph."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    nodes = {node.op_type for node in onnx.load(source, load_external_data=False).graph.node}
    if nodes & {"QuantizeLinear", "QLinearConv", "DequantizeLinear"}:
        raise InputError(
            "is already quantized", where=str(source), hint="start from the float model"
        )
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)


def _observe(
    prepared: Path, augmented: Path, request: Request
) -> "tuple[list[str], NDArray[np.float64]]":
    """Return tensor names and their per-image ranges ``(images, tensors, 2)``."""
    from onnxruntime.quantization.calibrate import MinMaxCalibrater

    calibrater = MinMaxCalibrater(prepared, augmented_model_path=str(augmented))
    calibrater.augment_graph()
    calibrater.create_inference_session()
    session: Any = calibrater.infer_session
    observed = [
        output.name
        for output in session.get_outputs()
        if output.name not in calibrater.model_original_outputs
    ]
    feed = session.get_inputs()[0].name
    rows = []
    with request.progress.task("calibrating onnxruntime", len(request.calibration)) as advance:
        for images, _ in request.calibration.batches(1):
            rows.append(
                np.array(
                    [float(np.ravel(value)[0]) for value in session.run(observed, {feed: images})]
                )
            )
            advance()
    names = [name.rpartition("_")[0] for name in observed[::2]]
    ranges = np.stack(rows).reshape(len(rows), len(names), 2)
    broken = ~np.isfinite(ranges).all(axis=(0, 2))
    if broken.any():
        raise SqueezeError(
            f"{int(broken.sum())} activations are NaN or infinite on calibration "
            f"data, first: {names[int(np.argmax(broken))]}",
            where=str(request.source),
        )
    return names, ranges


def _write_ranges(cache: Path, names: list[str], ranges: "NDArray[np.float64]") -> None:
    from onnxruntime.quantization.calibrate import (
        CalibrationMethod,
        TensorData,
        TensorsData,
        save_tensors_data,
    )

    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in zip(names, ranges, strict=True)
    }
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, data), cache)


def _insert_qdq(prepared: Path, destination: Path, cache: Path, *, reduced: bool) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    quantize_static(
        str(prepared),
        str(destination),
        None,
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=reduced,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibration_cache_path=cache,
    )
