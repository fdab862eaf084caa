"""Mixed precision by mAP: a detector's bad layer is found in both runtimes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from squeeze.core.boxes import Boxes
from squeeze.core.detector import DetectorSpec, Level
from squeeze.core.types import Silent
from squeeze.data.sets import Data, Opening, open_data
from squeeze.data.splits import Split
from squeeze.models.types import Architecture, Model
from squeeze.quantization.backends.litert import quantize as litert_backend
from squeeze.quantization.backends.onnxruntime import quantize as onnx_backend
from squeeze.quantization.mixed_precision.step import FloatLayers
from squeeze.quantization.request import Request
from squeeze.recipe.schema import DataBlock, InputSpec, QuantizeStep, Target
from squeeze.runtimes.base import Execution, several
from squeeze.runtimes.litert import export as litert_export
from squeeze.runtimes.onnxruntime import export as onnx_export
from squeeze.runtimes.runtime import load as load_runtime
from squeeze.tasks.detection.task import Detection

litert, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")

pytestmark = pytest.mark.usefixtures("portable_cpu")

SIDE, CLASSES, SHOWN = 48, 3, 4
SPEC = InputSpec(shape=(3, SIDE, SIDE), fit="letterbox")
BAD = "middle"
RUNTIMES: dict[str, Any] = {
    "onnx": (onnx_export, onnx_backend, onnxruntime),
    "tflite": (litert_export, litert_backend, litert),
}


class Detector(nn.Module):
    """Three convolutions and two heads; weights of ``middle`` leave int8 no steps.

    Those of 1000 are on a channel that is always 0: they change nothing in float.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.middle = nn.Conv2d(8, 8, 3, 2, 1)
        self.last = nn.Conv2d(8, 16, 3, 2, 1)
        self.classes = nn.Conv2d(16, CLASSES, 1)
        self.sides = nn.Conv2d(16, 4, 1)
        for layer in (self.first, self.middle, self.last, self.classes):
            nn.init.normal_(layer.weight, std=2 / layer.weight[0].numel() ** 0.5)
        with torch.no_grad():
            self.first.bias[0] = -100.0  # type: ignore[index]
            self.middle.weight[:, 0] = 1000.0
        self.detector = DetectorSpec(
            "anchor_free", CLASSES, (Level(8, ((16, 16),)),), distances="exp"
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(N, A, K)`` and ``(N, A, 4)``."""
        maps = images
        for layer in (self.first, self.middle, self.last):
            maps = layer(maps).relu()
        heads = self.classes(maps), self.sides(maps)
        return heads[0].flatten(2).mT, heads[1].flatten(2).mT


@dataclass(frozen=True, eq=False)
class Labelled:
    """Scenes whose objects are what the float detector is surest of."""

    scenes: Any
    boxes: Sequence[Boxes]
    classes: Sequence[str] = ("a", "b", "c")

    def __len__(self) -> int:
        return len(self.scenes)

    def label(self, index: int) -> Boxes:
        return self.boxes[index]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.scenes, name)


def labelled(split: Split, task: Detection, module: nn.Module) -> Split:
    images, _ = split.batch(range(len(split)))
    with torch.inference_mode():
        outputs = module(torch.from_numpy(images))
    found = task.predictions(tuple(part.numpy() for part in outputs))
    boxes = [Boxes.of(each.xyxy[:SHOWN], each.classes[:SHOWN]) for each in found]
    return replace(split, samples=Labelled(split.samples, boxes))


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(Detector().eval(), Architecture("detector", Path(), {}, SPEC))


@pytest.fixture(scope="module")
def task(model: Model) -> Detection:
    return Detection((SIDE, SIDE)).of(model.module)


@pytest.fixture(scope="module")
def scenes(model: Model, task: Detection) -> Data:
    part = {"format": "digit_scenes", "args": {"scenes": 24, "side": SIDE}}
    block = DataBlock.model_validate(
        {"train": part, "validation": part, "calibration": {"from": "train", "samples": 8}}
    )
    data = open_data(block, Opening(Path(), SPEC, 0, Silent()), trains=True, calibrates=True)
    assert data.train is not None
    return replace(data, train=labelled(data.train, task, model.module))


@pytest.mark.parametrize("kind", RUNTIMES)
def test_the_bad_layer_of_a_detector_is_found_by_map(
    kind: str, model: Model, task: Detection, scenes: Data, tmp_path: Path
) -> None:
    export, backend, runtime = RUNTIMES[kind]
    source, out = tmp_path / f"float.{kind}", tmp_path / f"mixed.{kind}"
    export.export(model, source, log=tmp_path / "log")
    step = QuantizeStep.model_validate(
        {
            "recovery": {"equalize": False, "bias_correction": False, "rounding": "nearest"},
            "mixed_precision": {"max_drop": 0.1},
        }
    )
    chosen = FloatLayers(step, "steps.0", scenes.calibration, scenes.train, task, 0)
    keep = chosen.keep_float(model, model, 1)
    assert scenes.calibration is not None
    request = Request(source, out, step, scenes.calibration, Silent(), None, keep_float=keep)
    target = Target(runtime=runtime.name)
    search = chosen.quantize(backend.quantize, request, target, 1).search

    assert search is not None
    assert (search.metric, search.met, search.samples) == ("mAP", True, 16)
    assert search.ranking[0].layer == BAD
    assert {"first", "last", "classes", "sides"} <= {each.layer for each in search.ranking}
    plain, best = search.trials
    assert (plain.layers, plain.int8, plain.total) == ((), 5, 5)
    assert (best.layers, best.chosen, best.int8) == ((BAD,), True, 4)
    assert best.drop <= 0.1
    assert plain.drop > 0.2
    session = runtime.open_session(out, Execution())
    images, _ = scenes.validation.batch([0])
    outputs = several(session.invoke(session.prepare(images)))
    session.close()
    assert [part.shape for part in outputs] == [(1, 36, CLASSES), (1, 36, 4)]
    assert all(np.isfinite(part).all() for part in outputs)
