"""A layer that hardly anything reaches keeps its bias in int8."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.models.types import Model
from squeeze.quantization import biases
from squeeze.quantization.backends.litert import quantize as litert_backend
from squeeze.quantization.backends.onnxruntime import quantize as onnx_backend
from squeeze.quantization.request import Request
from squeeze.recipe.schema import QuantizeStep
from squeeze.runtimes.base import Execution
from squeeze.runtimes.litert import export as litert_export
from squeeze.runtimes.onnxruntime import export as onnx_export
from squeeze.runtimes.runtime import load as load_runtime

litert, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")

WAYS: dict[str, Any] = {
    "onnx": (onnx_export, onnx_backend, onnxruntime),
    "tflite": (litert_export, litert_backend, litert),
}


class TwoLevels(nn.Module):
    """One head for two maps; the second map is almost nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fade = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.head = nn.Conv2d(8, 3, 3, padding=1)
        nn.init.normal_(self.fade.weight, std=1e-7)
        nn.init.zeros_(self.fade.bias)  # type: ignore[arg-type]
        self.head.bias.data.copy_(torch.tensor([-4.6, -4.5, 2.0]))  # type: ignore[union-attr]

    def forward(self, images: torch.Tensor) -> Any:
        near = torch.relu(self.stem(images))
        return self.head(near).flatten(1), self.head(torch.relu(self.fade(near))).flatten(1)


@pytest.mark.parametrize("kind", WAYS)
def test_a_head_for_two_levels_answers_its_bias_where_nothing_comes_in(
    kind: str, trained: Model, digits: Data, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    export, backend, runtime = WAYS[kind]
    model = Model(TwoLevels().eval(), trained.architecture)
    source, place = tmp_path / f"float.{kind}", tmp_path / f"int8.{kind}"
    export.export(model, source, log=tmp_path / "log")
    assert digits.calibration is not None
    backend.quantize(Request(source, place, QuantizeStep(), digits.calibration, Silent(), None))
    images, _ = digits.calibration.batch([0])
    session = runtime.open_session(place, Execution())
    found = session.invoke(session.prepare(images))
    session.close()
    with torch.inference_mode():
        expected = model.module(torch.from_numpy(images))
    for own, other in zip(found, expected, strict=True):
        assert np.abs(own - other.numpy()).max() < 0.1


def test_dead_channels_do_not_decide() -> None:
    weight, bias = np.array([[0.5, -1.27], [1e-9, 0.0]]), np.array([2.0**28, 5.0])
    assert biases.least_width(weight, bias) == pytest.approx(127 / 1.27 * 255)
    assert biases.least_width(np.zeros((2, 2)), bias) == 0.0
    ranges = {"a": (0.0, 1.0), "b": (-3.0, 3.0), "c": (0.5, 0.6)}
    wide = biases.widened(ranges, [("a", 2.0), ("b", 2.0), ("c", 2.0), ("constant", 9.0)])
    assert wide == {"a": (0.0, 2.0), "b": (-3.0, 3.0), "c": (0.5, 2.0)}
