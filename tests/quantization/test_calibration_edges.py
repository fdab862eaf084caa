"""Activations and weights without any width, and values that are none, in both runtimes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from squeeze.core.errors import SqueezeError
from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.models.types import Architecture, Model
from squeeze.quantization.backends.litert import quantize as litert_backend
from squeeze.quantization.backends.onnxruntime import quantize as onnx_backend
from squeeze.quantization.request import Request
from squeeze.recipe.schema import InputSpec, QuantizeStep
from squeeze.runtimes.base import Execution
from squeeze.runtimes.litert import export as litert_export
from squeeze.runtimes.onnxruntime import export as onnx_export
from squeeze.runtimes.runtime import load as load_runtime

litert, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")

SPEC = InputSpec(shape=(1, 12, 12), mean=(0.3,), std=(0.35,), crop_fraction=1.0)
KINDS: dict[str, Any] = {
    "onnx": (onnx_export, onnx_backend, onnxruntime),
    "tflite": (litert_export, litert_backend, litert),
}


class Flat(nn.Module):
    """Beside a live branch: one that is constant, one that is zero, and weights that are zero."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1)
        self.constant, self.dead = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1)
        self.last = nn.Linear(6, 10)
        with torch.no_grad():
            self.first.weight[2] = 0
            self.constant.weight.zero_()
            self.constant.bias.fill_(1.5)  # type: ignore[union-attr]
            self.dead.weight.zero_()
            self.dead.bias.fill_(-1)  # type: ignore[union-attr]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        live = self.first(images).relu()
        flat = live + self.constant(live).relu() + self.dead(live).relu()
        scores: torch.Tensor = self.last(flat.mean((2, 3)))
        return scores


def made() -> Model:
    return Model(Flat().eval(), Architecture("test:flat", Path(), {}, SPEC))


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.manual_seed(0)
    model, folder = made(), tmp_path_factory.mktemp("flat")
    paths = {kind: folder / f"float.{kind}" for kind in KINDS}
    for kind, (export, _, _) in KINDS.items():
        export.export(model, paths[kind], log=folder / "log.txt")
    return paths


def outputs(runtime: Any, path: Path, images: Any) -> Any:
    session = runtime.open_session(path, Execution())
    found = [session.invoke(session.prepare(image[None])) for image in images]
    session.close()
    return np.concatenate(found)


def request(source: Path, destination: Path, calibrator: str, digits: Data) -> Request:
    assert digits.calibration is not None
    step = QuantizeStep.model_validate({"calibrator": calibrator, "weight_bits": 8})
    return Request(source, destination, step, digits.calibration, Silent(), None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("calibrator", ["image_percentile", "mse", "entropy"])
def test_constant_and_dead_activations_and_zero_weights_quantize(
    kind: str, calibrator: str, flat: dict[str, Path], digits: Data, tmp_path: Path
) -> None:
    _, backend, runtime = KINDS[kind]
    out = tmp_path / f"int8.{kind}"
    backend.quantize(request(flat[kind], out, calibrator, digits))
    images, _ = digits.validation.batch(range(40))
    expected, found = (outputs(runtime, path, images) for path in (flat[kind], out))
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("kind", KINDS)
def test_activations_that_overflow_are_told_by_name_and_nothing_is_written(
    kind: str, digits: Data, tmp_path: Path
) -> None:
    export, backend, _ = KINDS[kind]
    model = made()
    with torch.no_grad():
        model.module.first.weight.fill_(3e38)
    source, out = tmp_path / f"float.{kind}", tmp_path / f"int8.{kind}"
    export.export(model, source, log=tmp_path / "log.txt")
    with pytest.raises(SqueezeError, match=r"the activation \S+ is NaN or infinite on"):
        backend.quantize(request(source, out, "minmax", digits))
    assert not out.exists()


@pytest.mark.parametrize("calibrator", ["image_percentile", "percentile"])
def test_both_runtimes_find_the_ranges_of_the_images(
    calibrator: str, flat: dict[str, Path], digits: Data, tmp_path: Path
) -> None:
    from ai_edge_quantizer import quantizer, recipe

    from squeeze.core.output import redirect_output
    from squeeze.quantization.backends.litert import observing as in_litert
    from squeeze.quantization.backends.onnxruntime import observing as in_onnx

    worker = quantizer.Quantizer(str(flat["tflite"]))
    worker.load_quantization_recipe(recipe.static_wi8_ai8())
    wanted = {kind: request(flat[kind], tmp_path / "x", calibrator, digits) for kind in KINDS}
    with redirect_output(None):
        theirs, note = in_litert.ranges(worker, wanted["tflite"])
        ours, other_note = in_onnx.ranges(flat["onnx"], tmp_path, wanted["onnx"])
    assert note == other_note
    assert f"ranges by {calibrator}" in note
    assert "on 64 samples drawn from train with seed 0, content hash" in note
    pairs = [(float(np.ravel(r["min"])[0]), float(np.ravel(r["max"])[0])) for r in theirs.values()]
    shared = [ends for ends in ours.values() if any(np.allclose(ends, p, atol=1e-3) for p in pairs)]
    assert len(shared) >= 4
    assert next(iter(ours.values())) in shared
