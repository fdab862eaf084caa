"""Training for int8 of networks with gates, channel shuffles and dense blocks, on real digits."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from squeeze.core.errors import SqueezeError
from squeeze.core.types import Silent
from squeeze.export import litert as litert_export
from squeeze.export import onnx as onnx_export
from squeeze.methods.quantize.backends import litert as litert_backend
from squeeze.methods.quantize.backends import onnxruntime as onnx_backend
from squeeze.methods.quantize.qat import simulation
from squeeze.methods.quantize.qat import step as qat
from squeeze.methods.quantize.qat.matching import TrainedRanges
from squeeze.methods.quantize.qat.rounding import Rounding
from squeeze.methods.quantize.request import Request
from squeeze.methods.training.loop import Training, train_
from squeeze.recipe.schema import CalibratorBlock, QatStep, QuantizeStep, TrainSettings
from squeeze.runtimes import litert, onnxruntime
from squeeze.runtimes.base import Execution
from squeeze.sources.data import Data
from squeeze.sources.models import Architecture, Model
from squeeze.tasks import classification

WAYS: dict[str, Any] = {
    "onnx": (onnx_export, onnx_backend, onnxruntime),
    "tflite": (litert_export, litert_backend, litert),
}


def layers(
    inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1, act: Any = None
) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), act or nn.Identity())


class Gate(nn.Module):
    """Squeeze and excite."""

    def __init__(self, channels: int, gate: nn.Module) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.down, self.up = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)
        self.gate = gate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = x * self.gate(self.up(torch.relu(self.down(self.pool(x)))))
        return found


class Inverted(nn.Module):
    """A MobileNetV3 or EfficientNet block: expand, depthwise, gate, project, add."""

    def __init__(self, channels: int, act: type[nn.Module], gate: nn.Module) -> None:
        super().__init__()
        wide = 2 * channels
        self.body = nn.Sequential(
            layers(channels, wide, 1, act=act()),
            layers(wide, wide, 3, groups=wide, act=act()),
            Gate(wide, gate),
            layers(wide, channels, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = x + self.body(x)
        return found


class Shuffle(nn.Module):
    """A ShuffleNetV2 unit: split, work on one half, join, shuffle channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.body = nn.Sequential(
            layers(half, half, 1, act=nn.ReLU()),
            layers(half, half, 3, groups=half),
            layers(half, half, 1, act=nn.ReLU()),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = x.chunk(2, dim=1)
        x = torch.cat([left, self.body(right)], 1)
        count, channels, height, width = x.size()
        x = x.view(count, 2, channels // 2, height, width).transpose(1, 2).contiguous()
        return x.view(count, channels, height, width)


class Dense(nn.Module):
    """A dense block: what was made so far is joined with what is new."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one = layers(channels, 8, 3, act=nn.ReLU())
        self.two = layers(channels + 8, channels, 3, act=nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = torch.cat([x, self.one(x)], 1)
        found: torch.Tensor = nn.functional.avg_pool2d(torch.cat([x, self.two(made)], 1), 2)
        return found


def network(name: str) -> nn.Sequential:
    bodies: dict[str, Any] = {
        "hard_swish": lambda: [Inverted(16, nn.Hardswish, nn.Hardsigmoid()) for _ in range(2)],
        "silu": lambda: [Inverted(16, nn.SiLU, nn.Sigmoid()) for _ in range(2)],
        "shuffle": lambda: [Shuffle(16), Shuffle(16)],
        "dense": lambda: [Dense(16)],
    }
    last = 32 if name == "dense" else 16
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, 10)]
    return nn.Sequential(layers(1, 16, 3, 2, act=nn.ReLU()), *bodies[name](), *head)


@pytest.mark.parametrize("name", ["hard_swish", "silu", "shuffle", "dense"])
def test_both_files_predict_what_was_trained(name: str, digits: Data, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Model(network(name), Architecture(name, Path(), {}, digits.validation.spec))
    assert digits.train is not None
    assert digits.calibration is not None
    training = Training(digits.train, digits.validation, classification, 0, Silent(), "training")
    train_(model.module, TrainSettings(epochs=10, lr=0.1), training)
    step = QatStep(scheme="qat_int8", epochs=1, lr=0.005, clip_norm=0.1, weight_bits=7)
    done = qat.train(model, model, step, training, digits.calibration)
    ranges = TrainedRanges(done.model, done.ranges, digits.calibration)
    images, labels = digits.validation.batch(range(len(digits.validation)))
    with torch.inference_mode():
        simulated = ranges.simulation().module.eval()(torch.from_numpy(images)).argmax(1).numpy()
    assert (simulated == labels).mean() > 0.7
    exported = Model(simulation.folded(done.model.module), model.architecture)
    for kind, (export, backend, runtime) in WAYS.items():
        source, place = tmp_path / f"float.{kind}", tmp_path / f"int8.{kind}"
        export.export(exported, source, log=tmp_path / "log")
        request = Request(
            source, place, QuantizeStep(weight_bits=7), digits.calibration, Silent(), None, ranges
        )
        told = backend.quantize(request).notes
        coverage = runtime.coverage(place)
        assert coverage.int8 == coverage.total, (kind, coverage.survivors)
        session = runtime.open_session(place, Execution())
        found = session.invoke(session.prepare(images)).argmax(1)
        session.close()
        assert (found == simulated).mean() >= 0.99, (kind, told, (found == simulated).mean())


def test_what_is_always_zero_gets_a_range_that_kernels_can_take() -> None:
    assert Rounding(0.0, 0.0).ends() == pytest.approx((0.0, 1.0))


def test_the_gate_of_a_sigmoid_keeps_the_range_that_runtimes_give_it(digits: Data) -> None:
    assert digits.calibration is not None
    graph = simulation.folded(network("silu").eval())
    start = simulation.observed(graph, digits.calibration, Silent(), CalibratorBlock())
    found = simulation.simulation(graph, start, 7)
    gates = {name: ends for name, ends in found.ranges().activations.items() if "sigmoid" in name}
    assert gates
    assert set(gates.values()) == {(0.0, 255 / 256)}


@pytest.mark.parametrize(
    ("part", "told"),
    [(nn.GELU(), "GELU"), (nn.LayerNorm(3), "LayerNorm"), (nn.Tanh(), "Tanh")],
)
def test_what_cannot_be_trained_is_refused_by_its_operator(part: nn.Module, told: str) -> None:
    graph = simulation.folded(nn.Sequential(nn.Linear(4, 3), part).eval())
    with pytest.raises(SqueezeError, match=rf"how runtimes round {told} \(1\)"):
        simulation.simulation(graph, {"input_1": (-1.0, 1.0), "_1": (0.0, 1.0)}, 8)
