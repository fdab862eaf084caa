"""A model with several outputs gives them in its own order, in every runtime."""

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
from squeeze.quantization.request import Request
from squeeze.recipe.schema import QuantizeStep
from squeeze.runtimes.base import Execution, several
from squeeze.runtimes.litert import export as litert_export
from squeeze.runtimes.onnxruntime import export as onnx_export
from squeeze.runtimes.pytorch.session import TorchSession
from squeeze.runtimes.runtime import load as load_runtime

litert, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")

OUTPUTS = 12
RUNTIMES: dict[str, Any] = {"onnx": onnxruntime, "tflite": litert}
EXPORTERS: dict[str, Any] = {"onnx": onnx_export, "tflite": litert_export}
BACKENDS: dict[str, Any] = {"onnx": onnx_backend, "tflite": litert_backend}


class Many(nn.Module):
    """Twelve outputs of the same shape, so that names alone tell them apart."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.heads = nn.ModuleList(nn.Conv2d(4, 2, 1) for _ in range(OUTPUTS))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = self.stem(images).relu()
        # the first output is made last
        found = [head(features) + 3 * n for n, head in enumerate(self.heads)]
        return tuple(x.permute(0, 2, 3, 1).flatten(1, 2) for x in found)


@pytest.fixture(scope="module")
def many(digits: Data) -> Model:
    torch.manual_seed(0)
    spec = digits.validation.spec
    return Model(Many().eval(), Architecture("./many.py:make", Path(), {}, spec))


@pytest.fixture(scope="module")
def exported(many: Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("many")
    for kind, exporter in EXPORTERS.items():
        exporter.export(many, folder / f"m.{kind}", log=folder / "log.txt")
    return {kind: folder / f"m.{kind}" for kind in EXPORTERS}


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
@pytest.mark.parametrize("count", [1, 3])
def test_outputs_come_in_the_models_order(
    kind: str, count: int, exported: dict[str, Path], many: Model, digits: Data
) -> None:
    images, _ = digits.validation.batch(range(count))
    session = RUNTIMES[kind].open_session(exported[kind], Execution())
    found = session.invoke(session.prepare(images))
    session.close()
    expected = TorchSession(many.module, Execution())
    wanted = expected.invoke(expected.prepare(images))
    expected.close()
    assert isinstance(found, tuple)
    assert len(found) == len(wanted) == OUTPUTS
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_int8_files_keep_the_order(
    kind: str, exported: dict[str, Path], many: Model, digits: Data, tmp_path: Path
) -> None:
    assert digits.calibration is not None
    path, log = tmp_path / f"int8.{kind}", tmp_path / "log.txt"
    images = digits.calibration.take(range(16))
    request = Request(exported[kind], path, QuantizeStep(), images, Silent(), log)
    BACKENDS[kind].quantize(request)
    batch, _ = digits.validation.batch(range(2))
    session = RUNTIMES[kind].open_session(path, Execution())
    found = several(session.invoke(session.prepare(batch)))
    session.close()
    with torch.inference_mode():
        wanted = many.module(torch.from_numpy(batch))
    assert len(found) == OUTPUTS
    for one, other in zip(found, wanted, strict=True):
        assert float(np.abs(one - other.numpy()).max()) < 0.5  # neighbours differ by 3


def test_onnx_names_tell_outputs_apart(exported: dict[str, Path]) -> None:
    import onnx

    graph = onnx.load(exported["onnx"]).graph
    assert [output.name for output in graph.output] == [f"output_{n}" for n in range(OUTPUTS)]
