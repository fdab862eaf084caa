"""Rounding of weights: on cases computed by hand, then the integers of real int8 files."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.models.types import Model
from squeeze.quantization.backends.onnxruntime import quantize as onnx_backend
from squeeze.quantization.recovery import recover, rounding
from squeeze.quantization.request import Request
from squeeze.recipe.schema import QuantizeStep, RecoverySettings
from squeeze.runtimes.base import Execution
from squeeze.runtimes.onnxruntime import export as onnx_export
from squeeze.runtimes.runtime import load as load_runtime

onnxruntime = load_runtime("onnxruntime")


def test_nearest_keeps_the_largest_weight_on_the_grid() -> None:
    weight = torch.tensor([[[1.27, -0.512, 0.0], [0.0, 0.0, 0.0]]]).double()
    assert rounding.nearest(weight, 127).tolist() == [[[127, -51, 0], [0, 0, 0]]]
    assert rounding.nearest(weight, 64).tolist() == [[[64, -26, 0], [0, 0, 0]]]


def test_adaptive_rounding_lets_errors_cancel() -> None:
    # steps of 1; the last two inputs are the same, so only the sum of their weights matters: 0.8
    weight = torch.tensor([[[127.0, 0.4, 0.4]]]).double()
    covariance = torch.tensor([[[1.0, 0, 0], [0, 1, 1], [0, 1, 1]]]).double()
    assert rounding.nearest(weight, 127).tolist() == [[[127, 0, 0]]]
    found = rounding.adaptive(weight, covariance, 127)
    assert found[0, 0, 0] == 127
    assert sorted(found[0, 0, 1:].tolist()) == [0, 1]


def test_adaptive_rounding_comes_near_to_the_best_of_all_roundings() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(8, 40, generator=generator).double()
    mixed = torch.randn(8, 8, generator=generator).double() @ inputs
    covariance = (mixed @ mixed.T / 40)[None]
    weight = torch.randn(1, 6, 8, generator=generator).double()
    step = rounding.steps(weight, 7)[..., None]

    def error(integers: torch.Tensor) -> torch.Tensor:
        difference = integers * step - weight
        return ((difference @ covariance) * difference).sum(2)

    every = torch.tensor(list(product((0.0, 1.0), repeat=8)))[:, None, None]
    every = (torch.floor(weight / step) + every).clamp(-7, 7)
    best = torch.stack([error(each) for each in every.flatten(1, 2)]).amin(0)
    adaptive, nearest = (rounding.adaptive(weight, covariance, 7), rounding.nearest(weight, 7))
    assert (error(adaptive).mean() - best.mean()) < 0.2 * (error(nearest).mean() - best.mean())
    assert adaptive.abs().amax(2).tolist() == [[7.0] * 6]


@pytest.mark.parametrize("bits", [7, 8])
def test_the_chosen_integers_are_those_in_the_file_and_the_error_shrinks(
    bits: int, trained: Model, digits: Data, files: dict[str, Path], tmp_path: Path
) -> None:
    assert digits.calibration is not None
    found = recover.recover(trained, RecoverySettings(), digits.calibration, Silent(), bits=bits)
    assert "weights of 10 layers rounded adaptively, of 0 to nearest" in found.notes[-1]
    plain, better = tmp_path / "plain.onnx", tmp_path / "better.onnx"
    floats = tmp_path / "floats.onnx"
    onnx_export.export(found.model, floats)
    step = QuantizeStep.model_validate({"weight_bits": bits})
    for source, target in ((files["onnx"], plain), (floats, better)):
        onnx_backend.quantize(
            Request(source, target, step, digits.calibration, Silent(), tmp_path / "log.txt")
        )
    rewritten = found.model.module
    wanted = [np.asarray(p.detach()) for p in rewritten.parameters() if p.dim() > 1]
    tensors = {t.name: numpy_helper.to_array(t) for t in onnx.load(better).graph.initializer}
    stored = [
        tensors[n].astype(float) * _along_first(tensors[f"{n.removesuffix('_quantized')}_scale"], n)
        for n in tensors
        if tensors[n].dtype == np.int8 and tensors[n].ndim == 4
    ]
    assert len(stored) == 9
    for weights in stored:
        assert any(
            w.shape == weights.shape and np.allclose(w, weights, rtol=1e-5, atol=1e-7)
            for w in wanted
        )
    values, _ = digits.validation.batch(range(len(digits.validation)))
    outputs = []
    for path in (files["onnx"], plain, better):
        session = onnxruntime.open_session(path, Execution())
        outputs.append(session.invoke(session.prepare(values)))
        session.close()
    before, after = (np.square(each - outputs[0]).mean() for each in outputs[1:])
    if bits == 7:  # with 8, nearly all of this small net's error comes from activations
        assert after < before


def _along_first(scale: Any, _: str) -> Any:
    return scale.reshape(-1, 1, 1, 1)
