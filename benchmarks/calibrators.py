"""What each calibrator gives: agreement with float and top-1, in ONNX Runtime and LiteRT.

One model is recovered once (equalized, rounded, biases corrected), exported once per runtime and
quantized with the ranges of every calibrator; all int8 files see the same images.

    python benchmarks/calibrators.py --weights mobilenet_v2.pth --data FOLDER

FOLDER is an image folder; ``--samples`` of its images calibrate, the others measure.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from images import head

from squeeze.core import cpu
from squeeze.core.types import Silent
from squeeze.data.sets import Data, Opening, open_data
from squeeze.data.splits import Split
from squeeze.exporting import file
from squeeze.models.blocks import build
from squeeze.models.types import Model
from squeeze.quantization.backend import load as load_backend
from squeeze.quantization.recovery.recover import recover
from squeeze.quantization.request import Request
from squeeze.recipe.schema import (
    CalibrationDraw,
    DataBlock,
    DataSource,
    InputSpec,
    ModelBlock,
    QuantizeStep,
    RecoverySettings,
)
from squeeze.runtimes.base import Execution
from squeeze.runtimes.runtime import load as load_runtime

if TYPE_CHECKING:
    from numpy.typing import NDArray

RUNTIMES = ("onnxruntime", "litert")
VARIANTS: tuple[str | dict[str, object], ...] = (
    "image_percentile",
    "minmax",
    "moving_average",
    {"name": "percentile", "percentile": 99.9},
    "percentile",
    {"name": "percentile", "percentile": 99.999},
    "entropy",
    "mse",
)


@dataclass(frozen=True)
class Setting:
    """What all files of one runtime share."""

    runtime: str
    source: Path
    weight_bits: int
    calibration: Split
    validation: Split
    expected: "NDArray[np.int64]"


def opened(folder: Path, spec: InputSpec, samples: int, evaluate: int | None) -> Data:
    """Draw calibration images; of the others take all, or the first of a random order."""
    block = DataBlock(
        validation=DataSource(format="image_folder", path=str(folder)),
        calibration=CalibrationDraw.model_validate({"from": "validation", "samples": samples}),
    )
    data = open_data(block, Opening(Path.cwd(), spec, 0, Silent()), trains=False, calibrates=True)
    kept = data.validation
    if evaluate is not None:
        order = np.random.default_rng(0).permutation(len(kept))
        kept = kept.take(np.sort(order[:evaluate]).tolist())
    return replace(data, validation=replace(kept, keep=True))


def classes(runtime: str, path: Path, images: Split) -> "NDArray[np.int64]":
    """Return the predicted class of every image."""
    session = load_runtime(runtime).open_session(path, Execution())
    found = [session.invoke(session.prepare(batch)).argmax(1) for batch, _ in images.batches(1)]
    session.close()
    return np.concatenate(found)


def line(setting: Setting, calibrator: str | dict[str, object], folder: Path) -> str:
    """Quantize with one calibrator and return its row."""
    step = QuantizeStep.model_validate(
        {"calibrator": calibrator, "weight_bits": setting.weight_bits}
    )
    path = folder / f"int8{setting.source.suffix}"
    started = time.perf_counter()
    load_backend(setting.runtime).quantize(
        Request(setting.source, path, step, setting.calibration, Silent(), folder / "log.txt")
    )
    seconds = time.perf_counter() - started
    found, labels = classes(setting.runtime, path, setting.validation), setting.validation.labels
    path.unlink()
    changed = (found == labels).astype(float) - (setting.expected == labels)
    error = 1.96 * changed.std(ddof=1) / np.sqrt(len(changed))
    name = f"`{step.calibrator.name}`"
    if step.calibrator.percentile is not None:
        name += f", percentile {step.calibrator.percentile:g}"
    return (
        f"| {setting.runtime} | {name} | {(found == setting.expected).mean():.1%} | "
        f"{100 * changed.mean():+.2f} ± {100 * error:.2f} | {seconds:.0f} |"
    )


def exported(model: Model, better: Model, runtime: str, folder: Path) -> tuple[Path, Path]:
    """Write the float model and the recovered one, still float."""
    place, log = load_runtime(runtime), folder / "log.txt"
    return (
        file.write("float", model, place, 1, folder, log),
        file.write("recovered", better, place, 1, folder, log),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="torchvision:mobilenet_v2")
    parser.add_argument("--weights", required=True, help="A file, or package:NAME/FILE.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--evaluate", type=int, help="Measure on so many images; all if not given.")
    options = parser.parse_args()
    spec = InputSpec(shape=(3, 224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    data = opened(options.data, spec, options.samples, options.evaluate)
    if data.calibration is None:
        raise SystemExit("there are no calibration images")
    block = ModelBlock(build=options.model, weights=options.weights, input=spec)
    model = build(block, Path.cwd())
    host = cpu.host()
    bits = {"onnxruntime": 7 if host.is_x86 and not host.has_vnni else 8, "litert": 8}
    better = {
        number: recover(model, RecoverySettings(), data.calibration, Silent(), bits=number).model
        for number in sorted(set(bits.values()))
    }
    print("\n".join(head("What each calibrator gives")))
    print(f"{options.samples} calibrate, {len(data.validation)} measure; weight bits {bits}\n")
    print(
        "| runtime | calibrator | agreement with float | top-1, points (95 %) | quantized in, s |"
    )
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for runtime in RUNTIMES:
            folder = Path(name)
            plain, source = exported(model, better[bits[runtime]], runtime, folder)
            expected = classes(runtime, plain, data.validation)
            setting = Setting(
                runtime, source, bits[runtime], data.calibration, data.validation, expected
            )
            for calibrator in VARIANTS:
                print(line(setting, calibrator, folder), flush=True)


if __name__ == "__main__":
    main()
