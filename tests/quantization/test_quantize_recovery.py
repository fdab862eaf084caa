"""Accuracy recovery: every step on a case computed by hand, then on real int8 files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.models import blocks
from squeeze.models.types import Model
from squeeze.quantization.recovery import bias, equalize, graph, moments, observe, recover
from squeeze.recipe.schema import InputSpec, ModelBlock, RecoverySettings


class Images:
    """Calibration images as they are; what recovery needs of a split."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images.numpy()

    def __len__(self) -> int:
        return len(self.images)

    def take(self, positions: range) -> "Images":
        return Images(torch.from_numpy(self.images[list(positions)]))

    def batch(self, positions: range) -> tuple[Any, Any]:
        return self.images[list(positions)], None

    def batches(self, size: int) -> Any:
        for start in range(0, len(self), size):
            yield self.images[start : start + size], None


def images(*values: list[float]) -> Any:
    """One pixel per image."""
    return Images(torch.tensor(values)[:, :, None, None])


def one_by_one(weight: list[list[float]], offset: list[float]) -> nn.Conv2d:
    layer = nn.Conv2d(len(weight[0]), len(weight), 1)
    layer.weight.data = torch.tensor(weight)[..., None, None]
    layer.bias = nn.Parameter(torch.tensor(offset))
    return layer


def test_a_batch_norm_is_folded_into_its_layer() -> None:
    norm = nn.BatchNorm2d(1, eps=0.0)
    norm.running_mean, norm.running_var = torch.tensor([5.0]), torch.tensor([4.0])
    norm.weight.data, norm.bias.data = torch.tensor([6.0]), torch.tensor([-1.0])
    traced = graph.folded(nn.Sequential(one_by_one([[3.0]], [1.0]), norm, nn.Dropout()).eval())
    # 6 * (3 x + 1 - 5) / sqrt(4) - 1 = 9 x - 13
    (node,) = graph.layers(traced)
    layer = graph.layer(traced, node)
    assert (layer.weight.item(), layer.bias.item()) == (9.0, -13.0)


def test_channels_are_scaled_to_equal_ranges_and_the_output_stays() -> None:
    first, second = one_by_one([[1.0], [0.1]], [0.0, 0.0]), one_by_one([[1.0, 10.0]], [0.5])
    traced = graph.folded(nn.Sequential(first, nn.ReLU(), second).eval())
    seen = images([1.0], [2.0], [4.0])
    expected = traced(torch.from_numpy(seen.images))
    assert equalize.equalize_(traced, seen, Silent(), largest=127) == 1
    made, used = (graph.layer(traced, node).weight.flatten() for node in graph.layers(traced))
    # the second channel reaches a tenth of the first, and its weight there is ten times as large
    assert torch.allclose(made, torch.tensor([1.0, 1.0]))
    assert torch.allclose(used, torch.tensor([1.0, 1.0]))
    assert torch.allclose(traced(torch.from_numpy(seen.images)), expected)


class Joined(nn.Module):
    """Two layers side by side; one of them is also read alone."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = one_by_one([[1.0]], [0.0]), one_by_one([[0.1], [0.01]], [0.0, 0.0])
        self.alone, self.both = one_by_one([[2.0]], [0.0]), one_by_one([[1.0, 10.0, 100.0]], [0.5])

    def forward(self, x: torch.Tensor) -> Any:
        left, right = torch.relu(self.a(x)), torch.relu(self.b(x))
        return self.both(torch.cat([left, right], 1)) + self.alone(left)


def test_what_is_joined_side_by_side_is_scaled_together() -> None:
    traced = graph.folded(Joined().eval())
    seen = images([1.0], [2.0], [4.0])
    expected = traced(torch.from_numpy(seen.images))
    group = next(g for g in equalize.groups(traced) if g.channels == 3)
    assert {node.name: places.tolist() for node, places in group.places.items()} == {
        "a": [0],
        "relu": [0],
        "b": [1, 2],
        "relu_1": [1, 2],
        "cat": [0, 1, 2],
    }
    assert equalize.equalize_(traced, seen, Silent(), largest=127) == 1
    weights = {str(n.target): graph.layer(traced, n).weight.flatten() for n in graph.layers(traced)}
    assert torch.allclose(torch.cat([weights["a"], weights["b"]]), torch.ones(3), atol=1e-5)
    assert torch.allclose(weights["both"], torch.ones(3), atol=1e-5)
    assert weights["alone"].item() == pytest.approx(2.0)
    assert torch.allclose(traced(torch.from_numpy(seen.images)), expected, atol=1e-5)


def test_a_channel_is_raised_to_the_clip_of_relu6_and_no_further() -> None:
    first = one_by_one([[1.0], [0.25], [2.0]], [0.0, 0.0, 0.0])
    second = one_by_one([[1.0, 4.0, 0.5]], [0.0])
    traced = graph.folded(nn.Sequential(first, nn.ReLU6(), second).eval())
    seen = images(*[[float(value)] for value in range(7)])
    expected = traced(torch.from_numpy(seen.images))
    assert equalize.equalize_(traced, seen, Silent(), largest=127) == 1
    made = graph.layer(traced, graph.layers(traced)[0]).weight.flatten()
    # reached: 6, 1.5 and 12, of which ReLU6 leaves 6
    assert made.tolist() == pytest.approx([1.0, 1.0, 2.0])
    assert torch.allclose(traced(torch.from_numpy(seen.images)), expected, atol=1e-6)


def test_the_predicted_noise_is_that_of_steps_over_root_twelve() -> None:
    layer = nn.Linear(2, 1)
    layer.weight.data = torch.tensor([[3.0, 4.0]])
    measured = equalize.Measured(
        torch.tensor([1.0, 2.0]).double(), torch.tensor([1.0, 0.25]).double(), None
    )
    found = equalize.predicted_noise(layer, torch.ones(2).double(), measured, 127)
    from_inputs = (3**2 + 4**2) * (2 / 255) ** 2 / 12
    from_weights = (1 + 0.25) * (4 / 127) ** 2 / 12
    assert found == pytest.approx((from_inputs + from_weights) / (9 * 1 + 16 * 0.25))


class Gated(nn.Module):
    """A product of activations: scaling its inputs would scale its output twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1)

    def forward(self, x: torch.Tensor) -> Any:
        y = self.first(x)
        return self.second(y * torch.sigmoid(y))


class Residual(nn.Module):
    """Two layers that add into one stream, which two layers read."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1)
        self.out = nn.Conv2d(2, 1, 1)

    def forward(self, x: torch.Tensor) -> Any:
        y = self.a(x)
        return self.out(torch.relu(y + self.b(y)))


def test_only_what_stays_the_same_is_scaled() -> None:
    assert equalize.groups(graph.folded(Gated())) == []
    (group,) = equalize.groups(graph.folded(Residual()))
    assert [node.target for node in group.makers] == ["a", "b"]
    assert [node.target for node in group.users] == ["b", "out"]


def test_the_bias_takes_back_the_mean_error() -> None:
    error = torch.tensor([[[0.1, -0.2], [0.0, 1.0]]])
    found = bias.shift(error, torch.tensor([[2.0, 3.0]]))
    assert found.tolist() == pytest.approx([-(0.2 - 0.6), -3.0])


@pytest.mark.parametrize("groups", [1, 2])
def test_moments_are_those_of_all_patches(groups: int) -> None:
    layer = nn.Conv2d(2, 2, 3, stride=2, padding=1, groups=groups)
    values = torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    traced = graph.folded(nn.Sequential(layer).eval())
    found = moments.collect(traced, Images(values), Silent())  # type: ignore[arg-type]
    (one,) = found.values()
    padded = np.pad(values.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    for group in range(groups):
        part = padded if groups == 1 else padded[:, group : group + 1]
        seen = np.stack(
            [
                part[n, :, row : row + 3, column : column + 3].ravel()
                for n in range(3)
                for row in (0, 2, 4)
                for column in (0, 2, 4)
            ]
        )
        assert one.count == len(seen) == 27
        assert np.allclose(one.mean[group], seen.mean(0), atol=1e-5)
        assert one.covariance is not None
        assert np.allclose(one.covariance[group], np.cov(seen.T, bias=True), atol=1e-5)


def test_a_mean_far_above_the_deviations_does_not_swallow_them() -> None:
    generator = torch.Generator().manual_seed(0)
    values = 1e4 + torch.randn(64, 4, generator=generator)
    seen: Any = Images(values)
    (one,) = moments.collect(graph.folded(nn.Sequential(nn.Linear(4, 2))), seen, Silent()).values()
    assert one.covariance is not None
    assert np.allclose(one.covariance[0], np.cov(values.double().numpy().T, bias=True), atol=1e-3)


def test_no_layer_makes_steps_that_litert_cannot_take() -> None:
    """A channel that fires once in a while stays small rather than be raised a thousandfold."""
    first = one_by_one([[1000.0], [1000.0], [1000.0]], [0.0, -3999.99, -4000.0])
    second = one_by_one([[1.0, 1.0, 1.0]], [0.0])
    traced = graph.folded(nn.Sequential(first, nn.ReLU6(), second).eval())
    seen = images(*[[float(value)] for value in range(5)])
    expected = traced(torch.from_numpy(seen.images))
    assert equalize.equalize_(traced, seen, Silent(), largest=127) == 1
    made = graph.layer(traced, graph.layers(traced)[0]).weight.flatten()
    # steps of 4 / 127 (input) and weight / 127, outputs of 6 / 127
    steps = made * 4 / 6 / 127
    assert steps.tolist() == pytest.approx([1000 * 4 / 6 / 127, 64, 64])
    assert torch.allclose(traced(torch.from_numpy(seen.images)), expected, atol=1e-3)


class Shared(nn.Module):
    """One head for two levels, as detectors have it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.lower = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 2, padding=1)
        self.head = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU())

    def forward(self, x: torch.Tensor) -> Any:
        fine = torch.relu(self.stem(x))
        return tuple(self.head(each).flatten(1) for each in (fine, self.lower(fine)))


def test_a_head_for_several_levels_is_rounded_by_what_it_sees_on_all(
    trained: Model, digits: Data
) -> None:
    torch.manual_seed(0)
    assert digits.calibration is not None
    model = Model(Shared().eval(), trained.architecture)
    found = recover.recover(model, RecoverySettings(), digits.calibration, Silent(), bits=8)
    assert found.notes[0] == (
        "channels of 0 groups of activations equalized; 4 passed over (2 beside a Conv2d called "
        "twice, which scales cannot pass; 2 beside GroupNorm and a Conv2d called twice, which "
        "scales cannot pass)"
    )
    assert "weights of 3 layers rounded adaptively, of 0" in found.notes[1]
    assert "passed over" not in found.notes[1]
    seen = moments.collect(graph.folded(model.module, shared=True), digits.calibration, Silent())
    assert seen["head.0"].count == len(digits.calibration) * (12 * 12 + 6 * 6)
    shared: Any = found.model.module.get_submodule("head.0")
    rounded = shared.weight / shared.weight.abs().amax((1, 2, 3), keepdim=True) * 127
    assert torch.allclose(rounded, rounded.round(), atol=1e-3)


class Padded(nn.Conv2d):
    """Pads by itself: what its weights see cannot be read from its attributes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a map of the same size."""
        return super().forward(nn.functional.pad(x, (1, 1, 1, 1)))


class Standardised(nn.Module):
    """A convolution whose weights are computed while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4, 3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a map of the same size."""
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, weight, padding=1)


def test_what_recovery_passes_over_is_told_with_its_reason(trained: Model, digits: Data) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(),
        Padded(4, 4, 3), nn.ReLU(),
        Padded(4, 4, 3), nn.SiLU(),
        nn.ConvTranspose2d(4, 4, 2, 2), nn.ReLU(),
        Standardised(), nn.ReLU(),
        nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.SiLU(), nn.Conv2d(4, 2, 1),
    )  # fmt: skip
    assert digits.calibration is not None
    model = Model(module.eval(), trained.architecture)
    images = digits.calibration.take(range(8))
    found = recover.recover(model, RecoverySettings(), images, Silent(), bits=8)
    equalized, rounded = found.notes
    assert equalized.startswith("channels of ")
    assert "1 beside SiLU, which scales cannot pass" in equalized
    assert rounded.startswith("weights of 4 layers rounded adaptively, of 0 to nearest; 4 biases")
    assert rounded.endswith(
        "; 4 passed over (2 Padded, a subclass of Conv2d; 1 ConvTranspose2d, neither Conv2d nor "
        "Linear; 1 conv2d with weights that are computed)"
    )


class Branching(nn.Module):
    """Its path depends on the values, which cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(2, 2), nn.BatchNorm1d(2)

    def forward(self, x: torch.Tensor) -> Any:
        return self.layer(x) if x.sum() > 0 else x


class Twice(Branching):
    """One layer in two places, with a batch norm after one of them."""

    def forward(self, x: torch.Tensor) -> Any:
        return self.norm(self.layer(self.layer(x)))


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (Branching(), "torch.fx cannot trace the model (TraceError"),
        (Twice(), "layer is called more than"),
    ],
)
def test_what_cannot_be_rewritten_stays_and_says_why(
    module: nn.Module, reason: str, trained: Model, digits: Data
) -> None:
    model = Model(module, trained.architecture)
    assert digits.calibration is not None
    found = recover.recover(model, RecoverySettings(), digits.calibration, Silent(), bits=8)
    assert found.model is model
    (note,) = found.notes
    assert note.startswith("accuracy recovery: none, weights are rounded to nearest: ")
    assert reason in note


def test_everything_can_be_switched_off(trained: Model, digits: Data) -> None:
    settings = RecoverySettings(equalize=False, bias_correction=False, rounding="nearest")
    assert digits.calibration is not None
    found = recover.recover(trained, settings, digits.calibration, Silent(), bits=8)
    assert found.model is trained
    assert found.notes == ("accuracy recovery: switched off",)


def test_at_most_256_images_are_looked_at() -> None:
    traced = graph.folded(nn.Sequential(one_by_one([[1.0]], [0.0])))
    many = Images(torch.zeros(300, 1, 1, 1))
    assert observe.run(traced, many, Silent(), "", lambda *_: None) == 256  # type: ignore[arg-type]


def test_a_batch_norm_of_timm_is_folded_too() -> None:
    from timm.layers import BatchNormAct2d

    norm = BatchNormAct2d(1, eps=0.0, act_layer=nn.ReLU)
    norm.running_mean, norm.running_var = torch.tensor([5.0]), torch.tensor([4.0])
    traced = graph.folded(nn.Sequential(one_by_one([[2.0]], [1.0]), norm).eval())
    (node,) = graph.layers(traced)
    # (2 x + 1 - 5) / sqrt(4) = x - 2
    assert traced(torch.tensor([1.5, 3.0]).view(2, 1, 1, 1)).flatten().tolist() == [0.0, 1.0]
    assert graph.layer(traced, node).weight.item() == 1.0


def test_nan_inputs_stop_the_rewriting(trained: Model) -> None:
    values = torch.randn(4, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    values[3] = torch.nan
    seen: Any = Images(values)
    settings = RecoverySettings(equalize=False)
    found = recover.recover(trained, settings, seen, Silent(), bits=8)
    assert found.model is trained
    assert found.notes[0].endswith("the inputs of conv1 are NaN or infinite")


@pytest.mark.slow
@pytest.mark.parametrize(
    "build",
    [
        "torchvision:mnasnet0_5",
        "torchvision:mobilenet_v3_small",
        "torchvision:shufflenet_v2_x0_5",
        "torchvision:squeezenet1_1",
        "timm:efficientnet_lite0",
        "timm:vit_tiny_patch16_224",
    ],
)
def test_other_architectures_stay_what_they_are(build: str) -> None:
    torch.manual_seed(0)
    side = 224 if "vit" in build else 64
    spec = InputSpec(shape=(3, side, side))
    block = ModelBlock(build=build, args={"num_classes": 10}, input=spec)
    model = blocks.build(block, Path())
    values = torch.randn(4, 3, side, side)
    seen: Any = Images(values)
    found = recover.recover(model, RecoverySettings(), seen, Silent(), bits=8)
    with torch.inference_mode():
        expected, rounded = model.module(values), found.model.module(values)
    assert not found.notes[0].startswith("accuracy recovery: none")
    assert (rounded - expected).abs().max() < 0.1 * expected.abs().max()
