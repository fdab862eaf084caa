"""Training for int8 with layers that stay float: in the simulation and in both files."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from squeeze.core.errors import SqueezeError
from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.models.types import Model
from squeeze.quantization.backends.litert import quantize as litert_backend
from squeeze.quantization.backends.onnxruntime import quantize as onnx_backend
from squeeze.quantization.qat import floats, places, simulation
from squeeze.quantization.qat import step as qat
from squeeze.quantization.qat.matching import TrainedRanges
from squeeze.quantization.qat.rounding import rounded
from squeeze.quantization.request import Request
from squeeze.recipe.schema import QatStep, QuantizeStep
from squeeze.runtimes.base import Execution
from squeeze.runtimes.litert import export as litert_export
from squeeze.runtimes.onnxruntime import export as onnx_export
from squeeze.runtimes.runtime import load as load_runtime
from squeeze.tasks.classification import task
from squeeze.training.inputs import Training

litert, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")

pytestmark = pytest.mark.usefixtures("portable_cpu")

WAYS: dict[str, Any] = {
    "onnx": (onnx_export, onnx_backend, onnxruntime),
    "tflite": (litert_export, litert_backend, litert),
}


class Fork(nn.Module):
    """A stem that two branches read, a sum, and a head behind what only moves values."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.left, self.right = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.neck, self.head = nn.Linear(16, 4), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = torch.relu(self.left(x) + self.right(x))
        x = torch.flatten(nn.functional.max_pool2d(x, 2), 1)
        return self.head(torch.unsqueeze(self.neck(x), 1).squeeze(1))  # type: ignore[no-any-return]


def fork() -> tuple[Any, dict[str, tuple[float, float]]]:
    """Return the fork's graph, and ranges of its nodes."""
    graph = simulation.folded(Fork().eval())
    nodes = [node.name for node in graph.graph.nodes if node.op != "output"]
    return graph, dict.fromkeys(nodes, (0.0, 1.0))


def places_of(kept: dict[str, str]) -> dict[str, list[str]]:
    """Return what reads each rounded activation of the fork."""
    graph, ranges = fork()
    tensors, in_float = set(ranges), floats.in_float(graph, ranges, kept)
    return {
        node.name: [user.name for user in places.int8_readers(node, tensors, in_float)]
        for place in places.places(graph, tensors, in_float)
        for node in place.nodes
    }


def test_what_floats_read_and_make_is_rounded_for_int8_readers_only() -> None:
    everything = places_of({})
    assert list(everything) == ["x", "stem_2", "left", "right", "relu", "neck", "head"]
    assert "x" not in places_of({"stem": "kept"})
    assert places_of({"left": "kept"}) == everything | {"stem_2": ["right"], "left": ["add"]}
    # what only moves values between float layers is float too, and ends are not rounded
    ends = places_of({"neck": "kept", "head": "kept"})
    assert list(ends) == ["x", "stem_2", "left", "right", "relu"]


def test_a_relu_is_kept_with_the_layer_that_it_is_fused_into() -> None:
    graph, ranges = fork()
    both = {"stem_0": "kept", "stem_2": "kept"}
    assert floats.in_float(graph, ranges, {"stem.0": "kept"}) == both
    assert floats.in_float(graph, ranges, {"stem.2": "kept"}) == both


def test_what_computes_nothing_cannot_be_kept() -> None:
    graph, ranges = fork()
    with pytest.raises(SqueezeError, match="no operation belongs to the layers kept by 'norm'"):
        floats.in_float(graph, ranges, {"stem.1": "kept by 'norm'"})


@pytest.mark.parametrize(("pattern", "in_float"), [("stages.1", 3), ("conv1", 1)])
def test_both_files_predict_what_was_trained(
    pattern: str, in_float: int, trained: Model, digits: Data, tmp_path: Path
) -> None:
    assert digits.train is not None
    assert digits.calibration is not None
    training = Training(digits.train, digits.validation, task, 0, Silent(), "3-quantize")
    step = QatStep(scheme="qat_int8", epochs=1, weight_bits=7, keep_float=(pattern,))
    done = qat.train(trained, trained, step, training, digits.calibration)
    ranges = TrainedRanges(done.model, done.ranges, digits.calibration)
    images, labels = digits.validation.batch(range(len(digits.validation)))
    with torch.inference_mode():
        simulated = ranges.simulation().module.eval()(torch.from_numpy(images)).argmax(1).numpy()
    assert (simulated == labels).mean() > 0.9
    exported = Model(simulation.folded(done.model.module), trained.architecture)
    on_grid = [
        torch.allclose(rounded(part.weight, 64), part.weight, rtol=0, atol=1e-6)
        for part in exported.module.modules()
        if isinstance(part, nn.Conv2d | nn.Linear)
    ]
    assert on_grid.count(False) == in_float
    for kind, (export, backend, runtime) in WAYS.items():
        source, place = tmp_path / f"float.{kind}", tmp_path / f"int8.{kind}"
        export.export(exported, source, log=tmp_path / "log")
        keep = ranges.keep_float(exported, 1)
        request = Request(
            source,
            place,
            QuantizeStep(weight_bits=7),
            digits.calibration,
            Silent(),
            None,
            ranges,
            keep_float=keep,
        )
        notes = backend.quantize(request).notes
        coverage = runtime.coverage(place)
        assert (coverage.int8, coverage.total) == (10 - in_float, 10)
        session = runtime.open_session(place, Execution())
        found = session.invoke(session.prepare(images)).argmax(1)
        session.close()
        assert (found == simulated).mean() >= 0.99, (kind, notes, (found == simulated).mean())
