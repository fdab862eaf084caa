"""What a detector's heads lose in int8: everything in integers against heads in float.

    squeeze run recipes/bccd_tinydet.yaml …
    python benchmarks/detection_int8_heads.py runs/bccd_tinydet/TIME [runs/…]

Of each run, its last float model is recovered once, exported once per runtime and quantized with
four kinds of heads. A fifth file is what many exporters make: boxes are decoded inside the graph
and stand in one tensor with the scores. All files see the same images and are timed in turns with
the float file.
``--plain`` does it as simple tools do: extremes as ranges, and no recovery.
"""

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import torch
from images import head
from numpy.typing import NDArray
from torch import Tensor, nn

from squeeze.core import cpu
from squeeze.core.detector import DetectorSpec
from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.exporting import file
from squeeze.measure import latency
from squeeze.measure.statistics import speedup
from squeeze.models import bundle
from squeeze.models.types import Model
from squeeze.pipeline.opening import open_data
from squeeze.pruning import graph
from squeeze.quantization.backend import load as load_backend
from squeeze.quantization.keep_float import kept, layers
from squeeze.quantization.recovery.recover import recover
from squeeze.quantization.request import Request
from squeeze.recipe.load import load_recipe
from squeeze.recipe.schema import QuantizeStep, RecoverySettings
from squeeze.runtimes.base import Execution, Session
from squeeze.runtimes.runtime import load as load_runtime
from squeeze.tasks.detection import decoding
from squeeze.tasks.detection.decoders import base
from squeeze.tasks.detection.task import Detection

if TYPE_CHECKING:
    from squeeze.core.boxes import Detections

RUNTIMES = ("onnxruntime", "litert")
INSIDE = "decoding too, in integers"
EVERYTHING = "everything in integers"
JOINED = "joining in float (default)"


class Decoded(nn.Module):
    """A detector that ends at one tensor ``(N, A, 4 + columns)``: boxes in pixels and scores."""

    def __init__(self, raw: nn.Module, spec: DetectorSpec, size: tuple[int, int]) -> None:
        super().__init__()
        self.raw, self.spec = raw, spec
        self.places = base.places(spec, size, torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        """Return corners of boxes, probabilities and, where there is one, objectness."""
        logits, regression, *others = self.raw(images)
        boxes = decoding.decoder(self.spec).boxes(regression, self.places, self.spec)
        softmax = self.spec.scores == "softmax"
        scores = logits.softmax(-1) if softmax else logits.sigmoid()
        return torch.cat([boxes, scores, *(other.sigmoid() for other in others)], -1)

    def undone(self, found: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Return the raw outputs that decode to these, so that the same code reads all files."""
        whole, columns = torch.from_numpy(found), self.spec.columns
        boxes, scores, others = (
            whole[..., :4],
            whole[..., 4 : 4 + columns],
            whole[..., 4 + columns :],
        )
        softmax = self.spec.scores == "softmax"
        logits = scores.clamp(min=1e-9).log() if softmax else scores.logit(1e-6)
        regression = decoding.decoder(self.spec).regression(boxes, self.places, self.spec)
        raw = (logits, regression.nan_to_num(), *([others.logit(1e-6)] if others.numel() else []))
        return tuple(each.numpy() for each in raw)


@dataclass(frozen=True)
class Detector:
    """A trained detector, how it is quantized and what it is measured with."""

    model: Model
    better: Model
    step: QuantizeStep
    data: Data
    task: Detection
    variants: dict[str, tuple[str, ...]]


def opened(run: Path, heads: Sequence[str], *, plain: bool) -> Detector:
    """Load a run's last float model and its data, and recover the model.

    Args:
        run: The folder of a run.
        heads: Patterns of whole heads.
        plain: Take extremes as ranges, and recover nothing.
    """
    loaded = load_recipe(run / "recipe.resolved.yaml")
    floats = [path for path in (run / "steps").iterdir() if (path / bundle.ARCHITECTURE).exists()]
    # "baseline", "1-prune", "2-distill": one that is numbered comes after the baseline
    model = bundle.load(max(floats, key=lambda path: (path.name != "baseline", path.name)))
    data = open_data(loaded, model, Silent())
    if data.calibration is None:
        raise SystemExit(f"{run}: there are no calibration images")
    bits = min(_bits(runtime) for runtime in RUNTIMES)
    better, step = model, QuantizeStep.model_validate({"calibrator": "minmax"})
    if not plain:
        better = recover(model, RecoverySettings(), data.calibration, Silent(), bits=bits).model
        step = QuantizeStep()
    variants = {
        INSIDE: (),
        EVERYTHING: (),
        JOINED: (),
        "last convolutions in float": _last(model),
        "heads in float": tuple(heads),
    }
    task = Detection(size=model.input.shape[1:]).of(model.module)
    return Detector(model, better, step, data, task, variants)


def _decoded(detector: Detector) -> Decoded:
    height, width = detector.model.input.shape[1:]
    spec: DetectorSpec = detector.model.module.detector  # type: ignore[assignment]
    return Decoded(detector.better.module, spec, (height, width)).eval()


def _last(model: Model) -> tuple[str, ...]:
    """Return the layers that make the outputs, which pruning leaves alone."""
    groups = graph.find_groups(model).groups
    ends = [
        dependency.path
        for group in groups
        if group.kept == graph.OUTPUT
        for dependency in group.dependencies
    ]
    return tuple(dict.fromkeys(ends))


def _bits(runtime: str) -> int:
    return load_backend(runtime).bits(QuantizeStep(), cpu.host())


def quantized(detector: Detector, runtime: str, source: Path, variant: str, folder: Path) -> Path:
    """Write one int8 file."""
    found = layers.matching(detector.model.module, detector.variants[variant], where=variant)
    calibration = detector.data.calibration
    if calibration is None:
        raise SystemExit("there are no calibration images")
    keep = (
        kept.keep_float(detector.better, dict.fromkeys(found, variant), calibration, batch_size=1)
        if found
        else None
    )
    number = list(detector.variants).index(variant)
    path = folder / f"{number}{source.suffix}"
    request = Request(
        source, path, detector.step, calibration, Silent(), folder / "log.txt", keep_float=keep
    )
    with _joining_in_integers(runtime) if variant in {INSIDE, EVERYTHING} else nullcontext():
        load_backend(runtime).quantize(request)
    return path


def _joining_in_integers(runtime: str) -> AbstractContextManager[object]:
    """Switch off what the product always does, to show what it is for."""
    place = f"squeeze.quantization.backends.{runtime}.float_file.joins"
    return mock.patch(place, return_value={})


def rows(detector: Detector, runtime: str, folder: Path) -> list[str]:
    """Return the table's rows of one runtime."""
    log = folder / "log.txt"
    plugin = load_runtime(runtime)
    plain = file.write("float", detector.model, plugin, 1, folder, log)
    source = file.write("recovered", detector.better, plugin, 1, folder, log)
    inside = _decoded(detector)
    ended = file.write("decoded", replace(detector.better, module=inside), plugin, 1, folder, log)
    paths = {"float": plain} | {
        name: quantized(detector, runtime, ended if name == INSIDE else source, name, folder)
        for name in detector.variants
    }
    sessions: dict[str, Session] = {
        name: plugin.open_session(path, Execution()) for name, path in paths.items()
    }
    images = detector.data.validation
    found: dict[str, list[Detections]] = {name: [] for name in sessions}
    for image, _ in images.batches(1):
        for name, session in sessions.items():
            outputs = session.invoke(session.prepare(image))
            raw = inside.undone(outputs) if isinstance(outputs, np.ndarray) else outputs
            found[name] += detector.task.predictions(raw)
    batch, _ = images.batch([0])
    calls = {
        name: partial(session.invoke, session.prepare(batch)) for name, session in sessions.items()
    }
    timed = latency.interleaved(calls, Silent(), runtime)
    lines = []
    for name, path in paths.items():
        score = detector.task.score(found[name], images)
        line = f"| {runtime} | {name} | {score.map.value:.1%} | {score.ap50.value:.1%} | "
        if name == "float":
            lines.append(f"{line}| | | {path.stat().st_size / 1e3:.0f} kB |")
            continue
        change = detector.task.compare(found["float"], found[name], images)
        drop, half = change.drop, change.ap50_drop
        covered = plugin.coverage(path)
        faster = speedup(timed["float"].rounds_s, timed[name].rounds_s)
        lines.append(
            f"{line}{-100 * drop.value:+.1f} [{-100 * drop.high:+.1f}, {-100 * drop.low:+.1f}] / "
            f"{-100 * half.value:+.1f} [{-100 * half.high:+.1f}, {-100 * half.low:+.1f}] | "
            f"{change.agreement.value:.1%} | {covered.int8} of {covered.total} | "
            f"{faster.value:.2f}x [{faster.low:.2f}, {faster.high:.2f}], "
            f"{path.stat().st_size / 1e3:.0f} kB |"
        )
    for session in sessions.values():
        session.close()
    return lines


def main() -> None:
    """Print a table per run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--heads", nargs="+", default=["*head*"], metavar="PATTERN")
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    print("\n".join(head("Int8 detectors: everything in integers against heads in float")))
    for run in options.runs:
        detector = opened(run, options.heads, plain=options.plain)
        detector = replace(
            detector,
            data=replace(detector.data, validation=replace(detector.data.validation, keep=True)),
        )
        print(f"## {run.parent.name}: {len(detector.data.validation)} images\n")
        print(
            "| runtime | int8 file | mAP | AP50 | change of mAP / AP50, points (95 %) | sure "
            "detections shared | int8 kernels | speed and size |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for runtime in RUNTIMES:
            with tempfile.TemporaryDirectory() as name:
                print("\n".join(rows(detector, runtime, Path(name))), flush=True)
        print()


if __name__ == "__main__":
    main()
