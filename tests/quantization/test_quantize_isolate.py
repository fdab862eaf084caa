"""Layers that a quantizer or a runtime cannot take stay float, by name and with the reason."""

from collections.abc import Collection
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
from squeeze.quantization.isolate import without_failing
from squeeze.quantization.request import QuantizedFile, Request
from squeeze.recipe.schema import InputSpec, QuantizeStep
from squeeze.runtimes.base import Execution
from squeeze.runtimes.litert import export as litert_export
from squeeze.runtimes.onnxruntime import export as onnx_export
from squeeze.runtimes.runtime import load as load_runtime

litert, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")

SPEC = InputSpec(shape=(1, 12, 12), mean=(0.3,), std=(0.35,), crop_fraction=1.0)
WAYS: dict[str, Any] = {
    "onnxruntime": (onnx_export, onnx_backend, onnxruntime, "onnx"),
    "litert": (litert_export, litert_backend, litert, "tflite"),
}


class Clamped(nn.Module):
    """A clamp between an integer and a float bound, neither of which is zero."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.bounds = low, high

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return as many values as it is given."""
        return x.clamp(self.bounds[0], max=self.bounds[1])


def between_layers(*middle: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    first = nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()
    last = nn.Conv2d(16, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*first, *middle, *last, nn.Linear(8, 4)).eval()


def quantized(
    module: nn.Module, runtime: str, digits: Data, folder: Path, scheme: str = "static_int8"
) -> tuple[Request, QuantizedFile, float]:
    """Return what was asked and done, and the SQNR of the int8 file to the torch module in dB."""
    exporter, backend, runner, kind = WAYS[runtime]
    model = Model(module, Architecture("./x.py:make", None, {}, SPEC))
    source, out = folder / f"float.{kind}", folder / f"int8.{kind}"
    exporter.export(model, source, log=folder / "log.txt")
    assert digits.calibration is not None
    step = QuantizeStep.model_validate({"method": "quantize", "scheme": scheme})
    request = Request(
        source, out, step, digits.calibration.take(range(16)), Silent(), folder / "log.txt"
    )
    outcome = backend.quantize(request)
    images, _ = digits.validation.batch(range(16))
    with torch.inference_mode():
        expected = module(torch.from_numpy(images)).numpy()
    session = runner.open_session(out, Execution())
    found = session.invoke(session.prepare(images))
    noise = float(np.square(found - expected).sum())
    return request, outcome, 10 * float(np.log10(np.square(expected).sum() / noise))


@pytest.mark.parametrize("scheme", ["static_int8", "dynamic_int8", "weight_only_int8"])
def test_a_grouped_transposed_convolution_stays_float_where_it_must(
    scheme: str, digits: Data, tmp_path: Path
) -> None:
    module = between_layers(nn.ConvTranspose2d(16, 16, 4, 2, 1, groups=4), nn.ReLU())
    request, done, sqnr = quantized(module, "onnxruntime", digits, tmp_path, scheme)
    assert sqnr > 25
    reasons = list(done.facts.kept.values())
    if scheme == "static_int8":
        (reason,) = reasons
        assert reason.startswith("in float because ONNX Runtime fails on ConvTranspose ")
        assert reason.endswith("operands could not be broadcast together with shapes (16,) (4,)")
        coverage = onnxruntime.coverage(request.destination)
        assert [node.name for node in coverage.survivors] == list(done.facts.kept)
        assert (coverage.int8, coverage.total) == (3, 4)
    else:
        assert reasons == []


def test_a_pool_that_leaves_padding_out_stays_float_in_litert(digits: Data, tmp_path: Path) -> None:
    module = between_layers(nn.AvgPool2d(3, 2, 1, count_include_pad=False))
    request, done, sqnr = quantized(module, "litert", digits, tmp_path)
    assert sqnr > 25
    reasons = list(done.facts.kept.values())
    assert len(reasons) == 2  # sums of values and of how many there are
    assert all("LiteRT fails on STABLEHLO_REDUCE_WINDOW …" in reason for reason in reasons)
    assert all("AvgPool2d" in name for name in done.facts.kept)
    coverage = litert.coverage(request.destination)
    assert (coverage.int8, coverage.total) == (3, 3)


def test_a_file_that_the_runtime_does_not_load_is_mended(digits: Data, tmp_path: Path) -> None:
    """XNNPACK refuses a layer whose products are rounded too coarsely."""
    pad = nn.Sequential(nn.ConstantPad2d((0, 1, 0, 1), -1e9), nn.MaxPool2d(2))
    _, done, _ = quantized(between_layers(pad), "litert", digits, tmp_path)
    assert ["LiteRT cannot load it" in reason for reason in done.facts.kept.values()] == [True]


@pytest.mark.parametrize("runtime", [*WAYS])
@pytest.mark.parametrize("bounds", [(0.2, 3), (-1, 0.5)])
def test_clamps_keep_their_bounds(
    bounds: tuple[float, float], runtime: str, digits: Data, tmp_path: Path
) -> None:
    """Also in int8, whose integers end where the range does, and that always has zero."""
    _, done, sqnr = quantized(between_layers(Clamped(*bounds)), runtime, digits, tmp_path)
    assert sqnr > 35
    kept = [reason for reason in done.facts.kept.values() if "bounds" in reason]
    assert len(kept) == (runtime == "onnxruntime" and bounds[0] > 0)


def test_several_kinds_that_fail_are_found_in_few_attempts() -> None:
    kinds = {f"conv{i}": "Conv" for i in range(64)} | {f"pool{i}": "Pool" for i in range(8)}
    tried = []

    def attempt(in_float: Collection[str]) -> str:
        tried.append(set(in_float))
        bad = {"conv5", "conv40", "pool0"} - set(in_float)
        if bad:
            raise ValueError(f"no kernel for {min(bad)}\nand more")
        return f"{len(kinds) - len(in_float)} in int8"

    made, unfit = without_failing(attempt, kinds, {}, who="It")
    assert made == "69 in int8"
    assert unfit == {
        name: f"in float because It fails on {kinds[name]} {name}: no kernel for {name}"
        for name in ("conv5", "conv40", "pool0")
    }
    assert len(tried) < 40
    assert without_failing(attempt, kinds, unfit, who="It") == ("69 in int8", unfit)
    assert tried[-1] == set(unfit)  # known from the first time


def test_what_fails_in_float_too_is_the_first_error() -> None:
    def attempt(in_float: Collection[str]) -> None:
        raise ValueError(f"{len(in_float)} in float")

    with pytest.raises(ValueError, match="0 in float"):
        without_failing(attempt, {"a": "Conv"}, {}, who="It")


def test_what_fails_together_only_stays_float_together() -> None:
    def attempt(in_float: Collection[str]) -> int:
        if not {"a", "b"} & set(in_float):
            raise ValueError("a and b")
        return len(in_float)

    kinds = dict.fromkeys("abcd", "Conv")
    made, unfit = without_failing(attempt, kinds, {}, who="It")
    assert made == len(unfit) == 2
    assert set(unfit) == {"a", "b"}
