"""Outputs that are joined at the end keep the range of the layer that computed them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.exporting import file
from squeeze.models.types import Model
from squeeze.quantization.backends.litert import quantize as litert_backend
from squeeze.quantization.backends.onnxruntime import quantize as onnx_backend
from squeeze.quantization.keep_float.joined import REASON, joining
from squeeze.quantization.keep_float.matching import FileOperator
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
LOUDER = 300.0


class Heads(nn.Module):
    """Two heads on one map; the values of the second are much larger."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU())
        self.quiet, self.loud = nn.Conv2d(8, 5, 1), nn.Conv2d(8, 5, 1)
        with torch.no_grad():
            for parameter in self.loud.parameters():
                parameter.mul_(LOUDER)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.stem(images)
        found = [head(maps).permute(0, 2, 3, 1).flatten(1, 2) for head in (self.quiet, self.loud)]
        return torch.cat(found, dim=1)


def test_only_what_leads_from_a_concatenation_to_the_output_is_found() -> None:
    def operators(last: str, reader: str) -> list[FileOperator]:
        return [
            FileOperator("conv", ("in",), ("map",), "Conv"),
            FileOperator("other", ("in",), ("second",), "Conv"),
            FileOperator("turned", ("map",), ("rows",), "Transpose"),
            FileOperator("shared", ("second",), ("flat",), "Reshape"),
            FileOperator("joined", ("rows", "flat"), ("all",), last),
            FileOperator("shaped", ("all",), ("out",), "Reshape"),
            FileOperator("beside", (reader,), ("more",), "Relu"),
        ]

    def found(last: str, reader: str) -> dict[str, str]:
        moving = {"Concat", "Transpose", "Reshape"}
        return joining(operators(last, reader), ["out"], moving=moving, concatenation="Concat")

    names = {"shaped", "joined", "turned", "shared"}
    assert found("Concat", "in") == dict.fromkeys(names, REASON)
    assert set(found("Concat", "flat")) == names - {"shared"}  # it is read by another one too
    assert found("Concat", "out") == {}  # the output itself is computed with
    assert found("Add", "in") == {}
    assert found("Transpose", "in") == {}  # nothing is joined


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_a_quiet_head_is_not_rounded_by_the_range_of_a_loud_one(
    kind: str, trained: Model, digits: Data, tmp_path: Path
) -> None:
    assert digits.calibration is not None
    runtime, backend = RUNTIMES[kind]
    torch.manual_seed(0)
    model = replace(trained, module=Heads().eval())
    source = file.write("float", model, runtime, 1, tmp_path, tmp_path / "log.txt")
    out = tmp_path / f"int8.{kind}"
    request = Request(source, out, QuantizeStep(), digits.calibration, Silent(), None)
    done = backend.quantize(request)
    assert set(done.facts.kept.values()) == {REASON}
    assert runtime.coverage(out).convolutions == (3, 3)
    images, _ = digits.validation.batch(range(32))
    values = {}
    for path in (source, out):
        session = runtime.open_session(path, Execution())
        rows = [session.invoke(session.prepare(image[None])) for image in images]
        values[path] = np.concatenate(rows)
        session.close()
    quiet = slice(0, values[source].shape[1] // 2)
    expected, found = (values[path][:, quiet] for path in (source, out))
    # in the joined range, the quiet head's values would lie within one step: error as large as they
    assert np.sqrt(((found - expected) ** 2).mean()) < 0.1 * expected.std()
