"""Training for int8 of families of networks, on real digits, in both runtimes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models import densenet

from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.models.types import Architecture, Model
from squeeze.quantization.backends.litert import quantize as litert_backend
from squeeze.quantization.backends.onnxruntime import quantize as onnx_backend
from squeeze.quantization.qat import floats, simulation
from squeeze.quantization.qat import step as qat
from squeeze.quantization.qat.matching import TrainedRanges
from squeeze.quantization.qat.rounding import Rounding
from squeeze.quantization.qat.unfold import unfolded
from squeeze.quantization.request import Request
from squeeze.recipe.schema import CalibratorBlock, QatStep, QuantizeStep, TrainSettings
from squeeze.runtimes.base import Execution
from squeeze.runtimes.litert import export as litert_export
from squeeze.runtimes.onnxruntime import export as onnx_export
from squeeze.runtimes.runtime import load as load_runtime
from squeeze.tasks.classification import task
from squeeze.training.inputs import Training
from squeeze.training.loop import train_

litert, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")

pytestmark = pytest.mark.usefixtures("portable_cpu")

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


class Joined(nn.Module):
    """What is cut off at 6, and at 0, joined with what is not; GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = layers(16, 8, 3, act=nn.ReLU6()), layers(16, 8, 3)
        self.out = layers(16, 16, 3, act=nn.GELU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.out(torch.cat([self.left(x), self.right(x)], 1))
        return found


def vision_transformer() -> nn.Module:
    """torchvision's, with layer norms, GELU and attention."""
    found = models.VisionTransformer(
        image_size=12,
        patch_size=4,
        num_layers=2,
        num_heads=2,
        hidden_dim=32,
        mlp_dim=64,
        num_classes=10,
    )
    found.conv_proj = nn.Conv2d(1, 32, 4, 4)
    nn.init.trunc_normal_(found.heads.head.weight, std=0.1)
    return found


def dense_net() -> nn.Module:
    """torchvision's, whose batch norms come before convolutions."""
    found = densenet.DenseNet(8, (2, 2), 16, num_classes=10)
    found.features.conv0 = nn.Conv2d(1, 16, 3, 1, 1, bias=False)
    return found


def network(name: str) -> nn.Module:
    whole = {"vit": vision_transformer, "densenet": dense_net}
    if name in whole:
        return whole[name]()
    bodies: dict[str, Any] = {
        "hard_swish": lambda: [Inverted(16, nn.Hardswish, nn.Hardsigmoid()) for _ in range(2)],
        "silu": lambda: [Inverted(16, nn.SiLU, nn.Sigmoid()) for _ in range(2)],
        "shuffle": lambda: [Shuffle(16), Shuffle(16)],
        "dense": lambda: [Dense(16)],
        "joined": lambda: [Joined()],
    }
    last = 32 if name == "dense" else 16
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, 10)]
    return nn.Sequential(layers(1, 16, 3, 2, act=nn.ReLU()), *bodies[name](), *head)


@pytest.mark.parametrize(
    ("name", "in_float"),
    [
        ("hard_swish", set()),
        ("silu", set()),
        ("shuffle", set()),
        ("dense", set()),
        ("joined", {floats.CUT, floats.UNKNOWN}),
        ("densenet", {floats.CUT}),
        ("vit", {floats.NORMED}),
    ],
)
def test_both_files_predict_what_was_trained(
    name: str, in_float: set[str], digits: Data, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = Model(network(name), Architecture(name, Path(), {}, digits.validation.spec))
    assert digits.train is not None
    assert digits.calibration is not None
    training = Training(digits.train, digits.validation, task, 0, Silent(), "training")
    settings, lr = TrainSettings(epochs=10, lr=0.1), 0.005
    if name == "vit":
        settings, lr = TrainSettings(epochs=12, lr=0.003, optimizer="adamw"), 0.001
    train_(model.module, settings, training)
    step = QatStep(scheme="qat_int8", epochs=1, lr=lr, clip_norm=0.1, weight_bits=7)
    done = qat.train(model, model, step, training, digits.calibration)
    assert set(done.ranges.in_float.values()) == in_float
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
            source,
            place,
            QuantizeStep(weight_bits=7),
            digits.calibration,
            Silent(),
            None,
            ranges,
            keep_float=ranges.keep_float(exported, 1),
        )
        notes = backend.quantize(request).notes
        coverage = runtime.coverage(place)
        assert not coverage.survivors, (kind, coverage.survivors)
        session = runtime.open_session(place, Execution())
        found = session.invoke(session.prepare(images)).argmax(1)
        session.close()
        assert (found == simulated).mean() >= 0.99, (kind, notes, (found == simulated).mean())


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


def test_attention_and_norms_go_back_into_the_models_own_layers() -> None:
    torch.manual_seed(0)
    module = vision_transformer().eval()
    for part in module.modules():
        if isinstance(part, nn.LayerNorm):
            part.weight.data.uniform_(0.5, 2)
            part.bias.data.normal_()
    graph = simulation.folded(module)
    x = torch.randn(2, 1, 12, 12)
    assert torch.allclose(graph(x), module(x), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for name, parameter in graph.named_parameters():
            assert "ln_1" not in name
            parameter.mul_(1.1)
    back = unfolded(module, graph)
    assert list(back.state_dict()) == list(module.state_dict())
    assert torch.allclose(back(x), graph(x), rtol=1e-4, atol=1e-5)


class Masked(nn.Module):
    """Attention with masks that nobody gives, as timm's."""

    def forward(
        self,
        x: torch.Tensor,
        mask: torch.Tensor | None = None,
        causal: bool = False,  # noqa: FBT001, FBT002
    ) -> torch.Tensor:
        return nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=mask, is_causal=causal)


def test_attention_is_written_as_products_whatever_the_model_could_be_given() -> None:
    module, x = Masked().eval(), torch.randn(2, 2, 5, 4)
    graph = simulation.folded(module)
    products = [node for node in graph.graph.nodes if node.target is torch.matmul]
    assert len(products) == 2
    assert torch.allclose(graph(x), module(x), rtol=1e-5, atol=1e-6)
