"""Peak memory: of the file alone."""

from pathlib import Path

import numpy as np
import pytest

from squeeze.measure import memory
from squeeze.models.types import Architecture, Model
from squeeze.recipe.schema import InputSpec
from squeeze.runtimes.base import Execution
from squeeze.runtimes.onnxruntime import export as onnx


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from torch import nn

    module = nn.Sequential(nn.Flatten(), nn.Linear(144, 20_000), nn.Linear(20_000, 300))
    spec = InputSpec(shape=(1, 12, 12))
    path = tmp_path_factory.mktemp("large") / "large.onnx"
    onnx.export(Model(module.eval(), Architecture("test:x", Path(), {}, spec)), path)
    return path


def test_a_larger_file_takes_more_and_the_parent_does_not_count(
    files: dict[str, Path], large: Path
) -> None:
    ballast = np.ones(500 * 2**20, np.uint8)
    shape = (1, 1, 12, 12)
    small = memory.peak_bytes("onnxruntime", files["onnx"], Execution(), shape)
    big = memory.peak_bytes("onnxruntime", large, Execution(), shape)
    assert ballast[-1] == 1
    assert 0 < small < 60 * 2**20
    assert large.stat().st_size < big < 400 * 2**20


@pytest.mark.parametrize(("runtime", "kind"), [("litert", "tflite"), ("pytorch", "bundle")])
def test_every_runtime_is_measured(runtime: str, kind: str, files: dict[str, Path]) -> None:
    found = memory.peak_bytes(runtime, files[kind], Execution(), (1, 1, 12, 12))
    assert 0 < found < 60 * 2**20
