"""Training for int8 where calibration alone loses far over two points: unequal channels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.models.types import Architecture, Model
from squeeze.quantization.backends.litert import quantize as litert_backend
from squeeze.quantization.backends.onnxruntime import quantize as onnx_backend
from squeeze.quantization.qat import step as qat
from squeeze.quantization.qat.matching import TrainedRanges
from squeeze.quantization.request import Request
from squeeze.recipe.schema import Augment, QatStep, QuantizeStep, TrainSettings
from squeeze.runtimes.base import Execution
from squeeze.runtimes.litert import export as litert_export
from squeeze.runtimes.onnxruntime import export as onnx_export
from squeeze.runtimes.runtime import load as load_runtime
from squeeze.tasks.classification import task
from squeeze.training.inputs import Training
from squeeze.training.loop import train_

litert, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")

WAYS: dict[str, Any] = {
    "onnx": (onnx_export, onnx_backend, onnxruntime),
    "tflite": (litert_export, litert_backend, litert),
}


def layers(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class Fork(nn.Module):
    """A depthwise and a dense branch, which share one range where they are joined."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        wide = 2 * inputs
        self.left = nn.Sequential(layers(inputs, wide, 1), layers(wide, wide, 3, 2, wide))
        self.right = layers(inputs, wide, 3, 2)
        self.out = layers(2 * wide, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.out(torch.cat([self.left(x), self.right(x)], 1))
        return found


class Forks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = layers(1, 4, 3)
        self.body = nn.Sequential(Fork(4, 8), Fork(8, 12))
        self.fc = nn.Linear(12, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.fc(self.body(self.stem(x)).mean((2, 3)))
        return found


@torch.no_grad()
def spread_(module: Any, seed: int) -> None:
    """Shrink joined channels by up to 1000 and undo it in what uses them: the same function."""
    generator = torch.Generator().manual_seed(seed)
    for fork in module.body:
        count = fork.out[0].in_channels
        scale = 1000 ** -torch.rand(count, generator=generator)
        for norm, part in zip((fork.left[1][1], fork.right[1]), scale.chunk(2), strict=True):
            norm.weight *= part
            norm.bias *= part
        fork.out[0].weight /= scale.view(1, -1, 1, 1)


def unseen(digits: Data) -> tuple[Any, Any]:
    """Return validation images where they are and moved by a pixel, for a sharper figure."""
    images, labels = digits.validation.batch(range(len(digits.validation)))
    moves = [(0, 2), (1, 2), (-1, 2), (1, 3), (-1, 3)]
    return np.concatenate([np.roll(images, *move) for move in moves]), np.tile(labels, len(moves))


def top1(kind: str, model: Model, digits: Data, trained: TrainedRanges | None, out: Path) -> Any:
    """Quantize for a runtime; return predictions on unseen images."""
    export, backend, runtime = WAYS[kind]
    export.export(model, out / f"float.{kind}", log=out / "log")
    assert digits.calibration is not None
    place = out / f"int8.{kind}"
    backend.quantize(
        Request(
            out / f"float.{kind}",
            place,
            QuantizeStep(weight_bits=7),
            digits.calibration,
            Silent(),
            None,
            trained,
        )
    )
    coverage = runtime.coverage(place)
    assert (coverage.int8, coverage.total) == (10, 10)
    session = runtime.open_session(place, Execution())
    images, _ = unseen(digits)
    found = session.invoke(session.prepare(images)).argmax(1)
    session.close()
    return found


def losses(seed: int, digits: Data, folder: Path) -> dict[str, tuple[float, float]]:
    """Return what calibration and training cost of top-1 in each kind of file."""
    torch.manual_seed(seed)
    model = Model(Forks(), Architecture("forks", Path(), {}, digits.validation.spec))
    assert digits.train is not None
    assert digits.calibration is not None
    training = Training(digits.train, digits.validation, task, seed, Silent(), "training")
    moved = Augment(shift=1)
    settings = TrainSettings(epochs=16, lr=0.2, weight_decay=0.0, augment=moved)
    train_(model.module, settings, training)
    spread_(model.module, seed)
    # 7 bits are what every CPU's kernels add up exactly
    step = QatStep(scheme="qat_int8", epochs=8, clip_norm=0.1, weight_bits=7, augment=moved)
    done = qat.train(model, model, step, training, digits.calibration)
    ranges = TrainedRanges(done.model, done.ranges, digits.calibration)
    images, labels = unseen(digits)
    with torch.inference_mode():
        before, simulated = (
            module.eval()(torch.from_numpy(images)).argmax(1).numpy()
            for module in (model.module, ranges.simulation().module)
        )
    found = {}
    for kind in WAYS:
        places = [folder / f"{seed}-{kind}-{way}" for way in ("calibrated", "trained")]
        for place in places:
            place.mkdir()
        calibrated = top1(kind, model, digits, None, places[0])
        trained = top1(kind, done.model, digits, ranges, places[1])
        as_they_are = slice(len(digits.validation))
        assert (trained == simulated)[as_they_are].mean() >= 0.99, (seed, kind)
        found[kind] = tuple(
            float((before == labels).mean() - (after == labels).mean())
            for after in (calibrated, trained)
        )
    return found


@pytest.mark.slow
def test_training_recovers_half_of_what_calibration_loses(digits: Data, tmp_path: Path) -> None:
    found = [losses(seed, digits, tmp_path) for seed in range(3)]
    for kind in WAYS:
        calibrated, trained = np.mean([costs[kind] for costs in found], axis=0)
        assert calibrated > 0.02, (kind, found)
        assert trained < calibrated / 2, (kind, found)
