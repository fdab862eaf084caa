"""Training a detector for int8: both files find what was trained."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from squeeze.core.types import Silent
from squeeze.data.sets import Data, Opening, open_data
from squeeze.models.blocks import build
from squeeze.models.types import Model
from squeeze.quantization.backends.litert import quantize as litert_backend
from squeeze.quantization.backends.neural_compressor import quantize as neural_compressor
from squeeze.quantization.backends.onnxruntime import quantize as onnx_backend
from squeeze.quantization.qat import simulation
from squeeze.quantization.qat import step as qat
from squeeze.quantization.qat.matching import TrainedRanges
from squeeze.quantization.request import Request
from squeeze.recipe.schema import (
    DataBlock,
    InputSpec,
    ModelBlock,
    QatStep,
    QuantizeStep,
    TrainSettings,
)
from squeeze.runtimes.base import Execution
from squeeze.runtimes.litert import export as litert_export
from squeeze.runtimes.onnxruntime import export as onnx_export
from squeeze.runtimes.runtime import load as load_runtime
from squeeze.tasks.detection.task import Detection
from squeeze.training.inputs import Training
from squeeze.training.loop import train_

litert, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")

WAYS: dict[str, Any] = {
    "onnx": (onnx_export, onnx_backend, onnxruntime),
    "tflite": (litert_export, litert_backend, litert),
}
SPEC = InputSpec(shape=(3, 64, 96), mean=(0.45,) * 3, std=(0.22,) * 3, fit="letterbox")
BLOCK = ModelBlock(
    build="builtin:tinydet",
    args={"num_classes": 10, "width_mult": 0.35, "channels": 32},
    input=SPEC,
)


@pytest.fixture(scope="module")
def scenes() -> Data:
    part = {"format": "digit_scenes", "args": {"scenes": 24, "side": 96, "most": 2}}
    block = DataBlock.model_validate(
        {
            "train": part,
            "validation": part | {"split": "validation"},
            "calibration": {"from": "train", "samples": 8},
        }
    )
    return open_data(block, Opening(Path(), SPEC, 0, Silent()), trains=True, calibrates=True)


@pytest.fixture(scope="module")
def detector(scenes: Data) -> tuple[Model, Training]:
    """A detector that has seen a few scenes."""
    torch.manual_seed(0)
    model = build(BLOCK, Path())
    task = Detection(SPEC.shape[1:]).of(model.module)
    assert scenes.train is not None
    training = Training(scenes.train, scenes.validation, task, 0, Silent(), "training")
    settings = TrainSettings(epochs=2, lr=0.002, batch_size=8, optimizer="adamw", clip_norm=10.0)
    train_(model.module, settings, training)
    return model, training


def outputs(runtime: Any, path: Path, images: Any) -> list[Any]:
    session = runtime.open_session(path, Execution())
    found = session.invoke(session.prepare(images))
    session.close()
    return list(found)


def noise_share(expected: Any, found: Any) -> float:
    """Return the power of the difference over that of the outputs around their mean."""
    signal = np.square(expected - expected.mean()).sum()
    return float(np.square(expected - found).sum() / signal)


@pytest.mark.slow
def test_both_files_give_what_was_trained(
    detector: tuple[Model, Training], scenes: Data, tmp_path: Path
) -> None:
    model, training = detector
    assert scenes.calibration is not None
    settings = {"epochs": 1, "lr": 5e-4, "batch_size": 8, "optimizer": "adamw"}
    step = QatStep.model_validate({"scheme": "qat_int8", "weight_bits": 7, **settings})
    done = qat.train(model, model, step, training, scenes.calibration)
    assert done.ranges.in_float == {}
    ranges = TrainedRanges(done.model, done.ranges, scenes.calibration)
    images, _ = scenes.validation.batch(range(8))
    with torch.inference_mode():
        expected = [
            each.numpy() for each in ranges.simulation().module.eval()(torch.from_numpy(images))
        ]
    exported = replace(done.model, module=simulation.folded(done.model.module))
    for kind, (export, backend, runtime) in WAYS.items():
        source, place = tmp_path / f"float.{kind}", tmp_path / f"int8.{kind}"
        export.export(exported, source, log=tmp_path / "log")
        chosen = QuantizeStep(weight_bits=7)
        request = Request(source, place, chosen, scenes.calibration, Silent(), None, ranges)
        assert "of 104 of 104 activations are in the file" in " ".join(
            backend.quantize(request).notes
        )
        coverage = runtime.coverage(place)
        assert (coverage.int8, coverage.total) == (75, 75)
        for one, other in zip(expected, outputs(runtime, place, images), strict=True):
            assert noise_share(one, other) < 0.01, kind  # 20 dB


@pytest.mark.slow
def test_neural_compressor_takes_detectors_too(
    detector: tuple[Model, Training], scenes: Data, tmp_path: Path
) -> None:
    model, _ = detector
    place = tmp_path / "int8.onnx"
    step = QuantizeStep(backend="neural_compressor")
    source = tmp_path / "float.onnx"  # it starts from the torch model
    neural_compressor.quantize(
        Request(source, place, step, scenes.calibration, Silent(), tmp_path / "log", model=model)
    )
    assert onnxruntime.coverage(place).convolutions == (56, 75)
    images, _ = scenes.validation.batch(range(8))
    with torch.inference_mode():
        expected = [each.numpy() for each in model.module.eval()(torch.from_numpy(images))]
    for one, other in zip(expected, outputs(onnxruntime, place, images), strict=True):
        assert one.shape == other.shape
        assert noise_share(one, other) < 0.1
