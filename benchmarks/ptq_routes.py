"""One way from a torch model to an int8 ONNX file, in a process of its own; see ``ptq_peers.py``.

    python benchmarks/ptq_routes.py ROUTE BUNDLE CALIBRATION.npy FOLDER

Every route loads the bundle, calibrates on the same prepared images and leaves ``int8.onnx`` in
the folder. Routes that start from an ONNX file export it themselves, with squeeze's exporter. The
last line of the output is JSON: the peak of resident memory, the version, a note.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from squeeze.core import cpu
from squeeze.core.types import Silent
from squeeze.models import bundle
from squeeze.models.types import Model
from squeeze.quantization.backend import load as load_backend
from squeeze.runtimes.onnxruntime import export as exporter

Images = NDArray[np.float32]
Work = Callable[[Model, Images, Path], str]
NAME = "int8.onnx"
STRIDE = 16  # images whose activations ONNX Runtime's histograms may hold at a time


@dataclass(frozen=True)
class Route:
    """A way to an int8 file.

    Attributes:
        title: Its row's name.
        package: What has to be importable.
        install: What to tell where it is not.
        work: Writes the file, returns a note.
    """

    title: str
    package: str
    install: str
    work: Work


class Reader:
    """ONNX Runtime's calibration reader: one image at a time, from ``start`` to ``end``."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self.set_range(0, len(images))

    def __len__(self) -> int:
        return len(self._images)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Read these images next."""
        self._order = iter(range(start_index, end_index))

    def get_next(self) -> dict[str, Images] | None:
        """Return the next image, or None after the last."""
        place = next(self._order, None)
        return None if place is None else {"images": self._images[place : place + 1]}


def squeeze(model: Model, images: Images, folder: Path) -> str:
    """Recover, export and quantize as ``squeeze quantize`` does, with its defaults."""
    from squeeze.data.samples import ArraySamples
    from squeeze.data.splits import Split
    from squeeze.quantization.recovery.recover import recover
    from squeeze.quantization.request import Request
    from squeeze.recipe.schema import QuantizeStep

    step, count = QuantizeStep(), len(images)
    samples = ArraySamples(images, np.zeros(count, np.int64), ("unknown",), "calibration")
    split = Split(samples, range(count), [b""] * count, model.input)
    backend = load_backend("onnxruntime")
    bits = backend.bits(step, cpu.host())
    recovered = recover(model, step.recovery, split, Silent(), bits=bits)
    source = folder / "float.onnx"
    exporter.export(recovered.model, source)
    request = Request(source, folder / NAME, step, split, Silent(), None, model=recovered.model)
    return "; ".join((*recovered.notes, *backend.quantize(request).notes))


def quantize_static(model: Model, images: Images, folder: Path) -> str:
    """ONNX Runtime's own quantizer with the defaults of its function."""
    from onnxruntime import quantization

    prepared = _prepared(model, folder)
    quantization.quantize_static(str(prepared), str(folder / NAME), Reader(images))
    return "QInt8 activations, QInt8 weights per tensor, min-max"


def quantize_static_hand(
    model: Model, images: Images, folder: Path, *, method: str, percentile: float | None = None
) -> str:
    """ONNX Runtime's own quantizer as its documentation advises for x86.

    Args:
        model: The float model.
        images: For calibration.
        folder: Where the files go.
        method: A ``CalibrationMethod``, or ``MovingAverage``.
        percentile: Of the values, for ``Percentile``.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization import quantize_static as quantize

    host = cpu.host()
    options: dict[str, Any] = {}
    if method == "MovingAverage":
        options |= {"CalibMovingAverage": True}
        method = "MinMax"
    elif method != "MinMax":
        options |= {"CalibStridedMinMax": STRIDE}  # for histograms too, whatever it is called
    if percentile is not None:
        options |= {"CalibPercentile": percentile}
    saturates = host.is_x86 and not host.has_vnni
    quantize(
        str(_prepared(model, folder)),
        str(folder / NAME),
        Reader(images),
        per_channel=True,
        reduce_range=saturates,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[method],
        extra_options=options,
    )
    bits = 7 if saturates else 8
    return f"QUInt8 activations, {bits}-bit QInt8 weights per channel, {method} {options}"


def neural_compressor(model: Model, images: Images, folder: Path) -> str:
    """Intel Neural Compressor: PT2E static, then torch's ONNX exporter."""
    import torch
    from neural_compressor.torch.export import export
    from neural_compressor.torch.quantization import StaticQuantConfig, convert, prepare

    example = (torch.from_numpy(images[:2]),)
    dynamic = ({0: torch.export.Dim("batch")},)
    traced = export(model.module.eval(), example_inputs=example, dynamic_shapes=dynamic)
    prepared = prepare(traced, quant_config=StaticQuantConfig())
    with torch.no_grad():
        for batch in _batches(images):
            prepared(torch.from_numpy(batch))
    torch.onnx.export(
        convert(prepared),
        example,
        folder / NAME,
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=["images"],
        dynamic_shapes=dynamic,
    )
    return "PT2E static with its defaults, exported by torch.onnx.export(dynamo=True)"


def nncf(model: Model, images: Images, folder: Path, *, preset: str, fast: bool) -> str:
    """NNCF's post-training quantization of the ONNX file.

    Args:
        model: The float model.
        images: For calibration.
        folder: Where the files go.
        preset: ``PERFORMANCE`` or ``MIXED``.
        fast: Fast bias correction instead of the full one.
    """
    import nncf as library
    import onnx

    exporter.export(model, folder / "float.onnx")
    data = library.Dataset([images[i : i + 1] for i in range(len(images))], _as_feed)
    quantized = library.quantize(
        onnx.load(folder / "float.onnx"),
        data,
        preset=library.QuantizationPreset[preset],
        subset_size=len(images),
        fast_bias_correction=fast,
    )
    onnx.save(quantized, folder / NAME)
    return f"{preset.lower()} preset, {'fast' if fast else 'full'} bias correction"


def olive(model: Model, images: Images, folder: Path, *, advised: bool) -> str:
    """Olive's static quantization of the ONNX file.

    Args:
        model: The float model.
        images: For calibration.
        folder: Where the files go.
        advised: With unsigned activations and weights per channel, instead of its defaults.
    """
    from olive.data.registry import Registry
    from olive.model import ONNXModelHandler
    from olive.passes.olive_pass import create_pass_from_dict
    from olive.passes.onnx.quantization import OnnxStaticQuantization

    exporter.export(model, folder / "float.onnx")
    feeds = [({"images": image}, 0) for image in images]
    Registry.register_dataset("given")(lambda **_: feeds)
    data = {"name": "calibration", "load_dataset_config": {"type": "given"}}
    options: dict[str, Any] = {"data_config": data}
    if advised:
        options |= {"activation_type": "uint8", "per_channel": True}
    quantizer = create_pass_from_dict(OnnxStaticQuantization, options, disable_search=True)
    made = quantizer.run(ONNXModelHandler(str(folder / "float.onnx")), str(folder / "olive"))
    Path(made.model_path).rename(folder / NAME)
    changed = "uint8 activations, weights per channel" if advised else "with its defaults"
    return f"OnnxStaticQuantization {changed}"


def _prepared(model: Model, folder: Path) -> Path:
    """Export and pre-process as ONNX Runtime's documentation asks for."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    exporter.export(model, folder / "float.onnx")
    prepared = folder / "prepared.onnx"
    quant_pre_process(str(folder / "float.onnx"), str(prepared), skip_symbolic_shape=True)
    return prepared


def _as_feed(image: Images) -> dict[str, Images]:
    return {"images": image}


def _batches(images: Images, size: int = 8) -> Iterator[Images]:
    for start in range(0, len(images), size):
        yield images[start : start + size]


def _hand(title: str, method: str, percentile: float | None = None) -> Route:
    work = partial(quantize_static_hand, method=method, percentile=percentile)
    return Route(f"quantize_static, set by hand: {title}", "onnxruntime", "onnxruntime", work)


def _nncf(preset: str, *, fast: bool) -> Route:
    title = f"NNCF, {preset.lower()}, {'fast' if fast else 'full'} bias correction"
    return Route(title, "nncf", "nncf", partial(nncf, preset=preset, fast=fast))


def _olive(title: str, *, advised: bool) -> Route:
    return Route(f"Olive, {title}", "olive", "olive-ai", partial(olive, advised=advised))


ROUTES = {
    "squeeze": Route("**squeeze**, defaults", "squeeze", "squeeze", squeeze),
    "ort_defaults": Route(
        "quantize_static, API defaults", "onnxruntime", "onnxruntime", quantize_static
    ),
    "ort_hand_minmax": _hand("min-max", "MinMax"),
    "ort_hand_moving": _hand("moving average", "MovingAverage"),
    "ort_hand_entropy": _hand("entropy", "Entropy"),
    "ort_hand_9999": _hand("percentile 99.99", "Percentile", 99.99),
    "ort_hand_99999": _hand("percentile 99.999", "Percentile", 99.999),
    "neural_compressor": Route(
        "neural-compressor, PT2E static",
        "neural_compressor",
        "neural-compressor[pt]",
        neural_compressor,
    ),
    "nncf_performance_fast": _nncf("PERFORMANCE", fast=True),
    "nncf_performance_full": _nncf("PERFORMANCE", fast=False),
    "nncf_mixed_fast": _nncf("MIXED", fast=True),
    "nncf_mixed_full": _nncf("MIXED", fast=False),
    "olive_defaults": _olive("defaults", advised=False),
    "olive_advised": _olive("uint8 activations, per channel", advised=True),
}
HAND = tuple(name for name in ROUTES if name.startswith("ort_hand"))


def peak_bytes() -> int:
    """Return the largest resident size so far; Linux's ``ru_maxrss`` would be the parent's."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    """Run one route and print what it took."""
    name, source, calibration, folder = sys.argv[1:]
    route = ROUTES[name]
    if find_spec(route.package) is None:
        print(json.dumps({"missing": f"not installed: pip install '{route.install}'"}))
        return
    with contextlib.redirect_stdout(sys.stderr):
        note = route.work(bundle.load(Path(source)), np.load(calibration), Path(folder))
    distribution = route.install.partition("[")[0]
    told = {"version": f"{distribution} {version(distribution)}", "note": note}
    print(json.dumps(told | {"peak_bytes": peak_bytes(), "cpu_s": time.process_time()}))


if __name__ == "__main__":
    main()
