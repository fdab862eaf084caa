"""Training for int8: rounding and its gradients by hand, folded weights back, what is refused."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from squeeze.core.errors import SqueezeError
from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.models.types import Model
from squeeze.quantization.qat import floats, places, simulation
from squeeze.quantization.qat.matching import TrainedRanges
from squeeze.quantization.qat.rounding import Rounding, rounded, rounded_layer
from squeeze.quantization.qat.unfold import unfolded
from squeeze.quantization.weight_bits import weight_bits
from squeeze.recipe.schema import CalibratorBlock, QatStep, Target

X = [-2.0, -0.004, 0.006, 0.5, 3.0]


def test_an_activation_is_rounded_to_steps_of_its_range() -> None:
    part = Rounding(-1.0, 1.55)  # 255 steps of 0.01, 100 of them below 0
    assert part(torch.tensor([X])).tolist()[0] == pytest.approx([-1.0, 0.0, 0.01, 0.5, 1.55])
    assert part.ends() == pytest.approx((-1.0, 1.55))


def test_the_gradients_are_those_of_learned_step_sizes() -> None:
    part, x = Rounding(-1.0, 1.55), torch.tensor([X], requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    (part(x) * weights).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 2.0, 4.0, 8.0, 0.0]]
    # inside, d/d step is round(x / step) - x / step; outside, the end itself is what comes out
    inside = 2 * (0 - -0.4) + 4 * (1 - 0.6) + 8 * (50 - 50)
    low, high = 1 - inside / 255, 16 + inside / 255
    factor = 1 / math.sqrt(len(X))
    assert part.stretch.grad is not None
    assert part.stretch.grad.tolist() == pytest.approx(
        [factor * low * -1.0, factor * high * 1.55], rel=1e-4
    )


def test_a_range_of_what_is_never_negative_starts_at_zero_and_stays_there() -> None:
    part = Rounding(0.3, 2.0)
    part.stretch.data = torch.tensor([3.0, 1.5])
    assert part.ends() == pytest.approx((0.0, 3.0))


def test_a_range_does_not_grow_over_what_cuts_values_off_already() -> None:
    part = Rounding(0.0, 5.0, 6.0)
    part.stretch.data = torch.tensor([1.0, 2.0])
    assert part.ends() == pytest.approx((0.0, 6.0))
    graph = simulation.folded(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU6()).eval())
    found = simulation.simulation(graph, {"input_1": (-1.0, 1.0), "_1": (0.0, 9.0)}, 8)
    assert found.ranges().activations["_1"] == pytest.approx((0.0, 6.0))


def test_biases_are_rounded_to_steps_of_the_sums_that_they_are_added_to() -> None:
    module = nn.Sequential(nn.Linear(2, 2)).eval()
    layer: Any = module[0]
    layer.weight.data = torch.tensor([[0.635, 0.0], [0.0, 1.27]])  # steps of 0.005 and 0.01
    layer.bias.data = torch.tensor([0.00017, -0.00017])
    graph = simulation.folded(module)
    found = simulation.simulation(graph, {"input_1": (-1.0, 1.55), "_0": (-2.0, 2.0)}, 8)
    again = copy.deepcopy(found.module)  # as weight averaging does
    found.module.get_submodule("rounding_input_1").start *= 2
    parts: Any = (again.get_submodule("0"), found.module.get_submodule("0"))
    before, after = (rounded_layer(part)[1].tolist() for part in parts)
    assert before == pytest.approx([0.00015, -0.0002])  # of 0.00005 and 0.0001
    assert after == pytest.approx([0.0002, -0.0002])  # of 0.0001 and 0.0002


@pytest.mark.parametrize(("largest", "expected"), [(64, [64, -21, 0]), (127, [127, -42, 0])])
def test_weights_are_rounded_per_output_and_learn_as_if_they_were_not(
    largest: int, expected: list[int]
) -> None:
    weight = torch.tensor([[0.9, -0.299, 0.001], [0.0, 0.0, 0.0]], requires_grad=True)
    found = rounded(weight, largest)
    assert (found[0] / 0.9 * largest).tolist() == pytest.approx(expected)
    assert found[1].tolist() == [0.0, 0.0, 0.0]
    assert torch.equal(rounded(found, largest), found)
    found.sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1.0] * 3] * 2


class Activated(nn.BatchNorm2d):
    """A batch norm that also activates, as timm's do."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.act(self.drop(super().forward(x)))
        return found


def shaken(module: nn.Module) -> nn.Module:
    """Give batch norms statistics and weights that do something."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
            if part.affine:
                part.weight.data.uniform_(0.5, 2)
                part.bias.data.normal_()
    return module.eval()


def test_folded_weights_go_back_into_the_models_own_layers() -> None:
    module = shaken(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, groups=4),
            nn.BatchNorm2d(4, affine=False),
            nn.Conv2d(4, 3, 1),
            Activated(3),
            nn.Flatten(),
            nn.Linear(27, 5),
        )
    )
    graph = simulation.folded(module)
    for part in graph.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.weight.data = rounded(part.weight.data, 127)
    back = unfolded(module, graph)
    x = torch.randn(2, 2, 7, 7)
    assert list(back.state_dict()) == list(module.state_dict())
    assert torch.allclose(back(x), graph(x), rtol=1e-4, atol=1e-5)
    again = simulation.folded(back)  # what exporters do
    for first, second in zip(graph.parameters(), again.parameters(), strict=True):
        assert torch.allclose(first, second, rtol=1e-6, atol=1e-7)


class Mixed(nn.Module):
    """What moves, joins, pools and adds."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 1)
        self.last = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = torch.relu(self.first(x))
        b = self.second(nn.functional.max_pool2d(a, 2))
        joined = torch.cat([nn.functional.avg_pool2d(a, 2), b], 1)
        found: torch.Tensor = self.last(torch.flatten(joined.mean((2, 3)), 1))
        return found


def test_ranges_are_shared_where_runtimes_share_them() -> None:
    graph = simulation.folded(Mixed().eval())
    tensors = {node.name for node in graph.graph.nodes if node.op != "output"}
    found = [
        ([node.name for node in place.nodes], [node.name for node in place.members])
        for place in places.places(graph, tensors)
    ]
    shared = ["relu", "max_pool2d", "second", "avg_pool2d", "cat"]
    assert found == [
        (["x"], ["x"]),
        (["relu", "second", "avg_pool2d"], shared),
        (["mean"], ["mean", "flatten"]),
        (["last"], ["last"]),
    ]


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.Tanh(), nn.PReLU(), nn.BatchNorm1d(3)])
def test_what_is_not_known_stays_float(last: nn.Module) -> None:
    if isinstance(last, nn.BatchNorm1d):
        last.track_running_stats = False  # cannot be folded
    graph = simulation.folded(nn.Sequential(nn.Linear(4, 3), last).eval())
    ranges = {"input_1": (-1.0, 1.0), "_0": (-1.0, 1.0), "_1": (0.0, 1.0)}
    in_float = floats.in_float(graph, ranges, {})
    assert in_float == {"_1": floats.UNKNOWN}
    found = simulation.simulation(graph, ranges, 8, in_float)
    assert [place.name for place in found.places] == ["input_1", "_0"]


def test_with_layer_norms_products_are_int8_with_what_is_fused_into_them() -> None:
    parts = (nn.LayerNorm(4), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3), nn.Sigmoid())
    graph = simulation.folded(nn.Sequential(*parts).eval())
    ranges = {node.name: (0.0, 1.0) for node in graph.graph.nodes if node.op != "output"}
    assert floats.in_float(graph, ranges, {}) == {"_0": floats.NORMED, "_4": floats.NORMED}


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_what_cannot_be_traced_is_refused() -> None:
    with pytest.raises(SqueezeError, match=r"torch\.fx cannot trace the model") as raised:
        simulation.folded(Branching())
    assert raised.value.where == "quantization-aware training"


def test_the_simulation_of_a_trained_model_is_the_one_that_was_trained(
    trained: Model, digits: Data
) -> None:
    assert digits.calibration is not None
    graph = simulation.folded(trained.module)
    start = simulation.observed(graph, digits.calibration, Silent(), CalibratorBlock())
    found = simulation.simulation(graph, start, 7)
    module = unfolded(trained.module, found.module)
    again = TrainedRanges(Model(module, trained.architecture), found.ranges(), digits.calibration)
    images = torch.from_numpy(digits.validation.batch(range(32))[0])
    with torch.inference_mode():
        first, second = found.module.eval()(images), again.simulation().module.eval()(images)
    step = (found.ranges().activations["fc"][1] - found.ranges().activations["fc"][0]) / 255
    apart = (first - second).abs() / step
    assert float(apart.max()) <= 1.01
    # a range that was saved may have lost its last bit, and all values on its grid with it
    assert float((apart > 0.01).float().mean()) < 0.01


def test_ranges_are_kept_beside_a_bundle(tmp_path: Path) -> None:
    ranges = simulation.Ranges(bits=7, activations={"x": (-1.0, 0.1)})
    assert simulation.read(tmp_path) is None
    simulation.write(ranges, tmp_path)
    assert simulation.read(tmp_path) == ranges


def test_nan_activations_are_reported(digits: Data, trained: Model) -> None:
    broken: Any = trained.copy().module
    broken.fc.weight.data[:] = float("nan")
    assert digits.calibration is not None
    graph = simulation.folded(broken)
    with pytest.raises(SqueezeError, match="the activation fc is NaN or infinite"):
        simulation.observed(graph, digits.calibration, Silent(), CalibratorBlock())


@pytest.mark.parametrize(("backend", "bits"), [("auto", 7), ("onnxruntime", 7), ("litert", 8)])
def test_weights_have_the_bits_of_the_target_that_takes_fewest(backend: str, bits: int) -> None:
    step = QatStep(scheme="qat_int8", epochs=1, weight_bits=7, backend=backend)
    targets = [Target(runtime=name) for name in ("pytorch", "onnxruntime", "litert")]
    assert weight_bits(step, targets) == bits
