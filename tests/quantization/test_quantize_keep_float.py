"""Layers that stay float: which operators of both files they are, and that they really do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from squeeze.core.errors import InputError, SqueezeError
from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.models.types import Model
from squeeze.quantization.backends.litert import quantize as litert_backend
from squeeze.quantization.backends.onnxruntime import quantize as onnx_backend
from squeeze.quantization.keep_float import layers, matching
from squeeze.quantization.keep_float.fingerprint import Fingerprint
from squeeze.quantization.keep_float.kept import keep_float
from squeeze.quantization.keep_float.matching import FileOperator
from squeeze.quantization.recovery import graph as graphs
from squeeze.quantization.request import Request
from squeeze.recipe.schema import QuantizeStep
from squeeze.runtimes.base import Execution
from squeeze.runtimes.runtime import load as load_runtime

litert, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")

pytestmark = pytest.mark.usefixtures("portable_cpu")

RUNTIMES: dict[str, tuple[Any, Any]] = {
    "onnx": (onnxruntime, onnx_backend),
    "tflite": (litert, litert_backend),
}


class Net(nn.Module):
    """A block with a sum, a head with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        nn.init.constant_(self.norm.weight, 1.5)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())
        self.drop = nn.Dropout()
        self.head = nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.norm(self.conv(images)))
        hidden = hidden + self.block(hidden)
        return self.head(self.drop(hidden.mean((2, 3))))  # type: ignore[no-any-return]


def small() -> tuple[nn.Module, np.ndarray[Any, Any]]:
    torch.manual_seed(0)
    return Net().eval(), torch.randn(2, 1, 6, 6).numpy()


def test_fingerprints_ignore_layout_and_rounding_only() -> None:
    values = np.random.default_rng(0).normal(size=(1, 3, 40, 40)).astype(np.float32)
    known = Fingerprint.of(values)
    assert known.same(Fingerprint.of(values.transpose(0, 2, 3, 1) + 1e-6))
    assert not known.same(Fingerprint.of(values * 1.01))
    assert not known.same(Fingerprint.of(values[:, :2]))
    assert len(known.values) == 512
    assert Fingerprint.of(np.zeros(5)).same(Fingerprint.of(np.zeros(5)))


def test_patterns_are_paths_and_classes() -> None:
    module, _ = small()
    found = layers.matching(module, ["block*", "Linear"], where="keep_float")
    assert found == {
        "block": "block*",
        "block.0": "block*",
        "block.1": "block*",
        "head": "Linear",
    }
    with pytest.raises(InputError, match=r"(?s)'blok' matches no layer; did you mean 'block'\?"):
        layers.matching(module, ["blok"], where="keep_float")
    with pytest.raises(InputError, match="did you mean 'Conv2d'"):
        layers.matching(module, ["Conv2D"], where="keep_float")


@pytest.mark.parametrize("form", ["as built", "folded"])
def test_operations_know_their_layers(form: str) -> None:
    module, images = small()
    found = layers.operations(graphs.folded(module) if form == "folded" else module, images)
    by_layer = {operation.layer: operation for operation in found}
    assert {"conv", "block.0", "block.1", "head"} <= set(by_layer)
    assert by_layer["block.1"].layers[-2:] == ("block", "block.1")
    assert by_layer["block.1"].inputs == (by_layer["block.0"].name,)


def test_what_lies_between_two_known_tensors_is_computed_there() -> None:
    module, images = small()
    found = layers.operations(module, images)
    with torch.no_grad():
        tensor = torch.from_numpy(images)
        first = torch.relu(module.norm(module.conv(tensor)))  # type: ignore[operator]
        summed = first + module.block(first)  # type: ignore[operator]
        values = {
            "in": tensor,
            "first": first.permute(0, 2, 3, 1),
            "half": first * 0.5,  # nothing of the module
            "summed": summed,
            "mean": summed.mean((2, 3)),
            "out": module(tensor),
        }
    operators = [
        FileOperator("fused", ("in",), ("first",)),
        FileOperator("turned", ("first",), ("half",)),
        FileOperator("branch", ("half", "first"), ("summed",)),
        FileOperator("pool", ("summed",), ("mean",)),
        FileOperator("product", ("mean",), ("unknown",)),
        FileOperator("bias", ("unknown",), ("out",)),
    ]
    computed = matching.computed(found, operators, ((n, v.numpy()) for n, v in values.items()))
    by_name = {operation.name: operation for operation in found}

    def of(operator: str) -> set[str]:
        return {by_name[name].layer for name in computed[operator]}

    assert of("fused") == {"conv", "norm", ""}
    assert of("branch") == of("turned") == {"block.0", "block.1", ""}
    assert of("pool") == {""}
    assert of("product") == of("bias") == {"head"}


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
@pytest.mark.parametrize(
    ("pattern", "in_float", "convolutions"),
    [("stages.1.0.conv1", 1, 1), ("stages.1", 3, 3), ("Linear", 1, 0), ("Conv2d", 9, 9)],
)
def test_kept_layers_run_in_float(
    kind: str,
    pattern: str,
    in_float: int,
    convolutions: int,
    trained: Model,
    files: dict[str, Path],
    digits: Data,
    tmp_path: Path,
) -> None:
    assert digits.calibration is not None
    runtime, backend = RUNTIMES[kind]
    hits = layers.matching(trained.module, [pattern], where="keep_float")
    paths = dict.fromkeys(hits, "kept by the user")
    keep = keep_float(trained, paths, digits.calibration, batch_size=1)
    out = tmp_path / f"mixed.{kind}"
    request = Request(
        files[kind], out, QuantizeStep(), digits.calibration, Silent(), None, keep_float=keep
    )
    kept = backend.quantize(request).facts.kept
    coverage = runtime.coverage(out)
    assert (coverage.int8, coverage.total) == (10 - in_float, 10)
    assert coverage.convolutions == (9 - convolutions, 9)
    assert {node.name for node in coverage.survivors} <= set(kept)
    assert set(kept.values()) == {"kept by the user"}
    images, _ = digits.validation.batch(range(len(digits.validation)))
    found = {}
    for path in (files[kind], out):
        session = runtime.open_session(path, Execution())
        found[path] = session.invoke(session.prepare(images)).argmax(1)
        session.close()
    assert (found[out] == found[files[kind]]).mean() > 0.97


def test_what_computes_nothing_cannot_be_kept(
    trained: Model, files: dict[str, Path], digits: Data, tmp_path: Path
) -> None:
    assert digits.calibration is not None
    hits = layers.matching(trained.module, ["Identity"], where="keep_float")
    keep = keep_float(trained, dict.fromkeys(hits, "kept"), digits.calibration, batch_size=1)
    out = tmp_path / "mixed.onnx"
    request = Request(
        files["onnx"], out, QuantizeStep(), digits.calibration, Silent(), None, keep_float=keep
    )
    missing = "no operator of the file computes the layers that are kept"
    with pytest.raises(SqueezeError, match=missing):
        onnx_backend.quantize(request)
    assert not out.exists()
