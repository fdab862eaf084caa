"""Which parameters train, and with what learning rate and decay."""

import math

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from squeeze.core.errors import InputError
from squeeze.models.cifar_resnet import resnet8
from squeeze.recipe.schema import TrainSettings
from squeeze.training import optimizer, parameters, schedule


def learning_rates(settings: TrainSettings, steps: int) -> list[float]:
    built = optimizer.build(nn.Linear(1, 1), settings)
    rates = schedule.build(built, settings, per_epoch=steps // settings.epochs)
    found = []
    for _ in range(steps):
        found.append(built.param_groups[0]["lr"])
        built.step()
        rates.step()
    return found


def test_weight_decay_spares_norms_and_biases() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    decayed, spared = optimizer.build(module, TrainSettings(epochs=1)).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (5e-4, 0.0)
    assert [p.ndim for p in decayed["params"]] == [4, 2]
    assert [p.ndim for p in spared["params"]] == [1, 1, 1, 1]


def test_layers_have_their_own_learning_rate_and_extras_the_plain_one() -> None:
    module, extra = resnet8(num_classes=10), nn.Linear(3, 3)
    paths = [path for path, _ in module.named_children()]
    first, last = paths[0], paths[-1]
    settings = TrainSettings(epochs=1, lr=1.0, lr_scales={"*": 0.1, last: 2.0})
    groups = optimizer.build(module, settings, extra).param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert {rates[id(p)] for p in getattr(module, first).parameters()} == {0.1}
    assert {rates[id(p)] for p in getattr(module, last).parameters()} == {2.0}
    assert {rates[id(p)] for p in extra.parameters()} == {1.0}
    assert len(rates) == len([*module.parameters(), *extra.parameters()])


def test_a_pattern_that_matches_nothing_names_the_nearest_paths() -> None:
    with pytest.raises(
        InputError, match=r"'conv_1' matches no layer or parameter.*conv1'\?\n.*nearest: "
    ):
        parameters.matching(nn.ModuleDict({"conv1": nn.Linear(1, 1)}), ["conv_1"], "freeze")
    with (
        pytest.raises(InputError, match="leaves nothing to train"),
        parameters.frozen(nn.Linear(1, 1), ["*"], "freeze"),
    ):
        pass


def test_patterns_may_name_parameters_too() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2, bias=False))
    found = parameters.matching(module, ["*.bias", "BatchNorm2d", "2"], "freeze")
    assert found == {
        "*.bias": {"0.bias", "1.bias"},
        "BatchNorm2d": {"1.weight", "1.bias"},
        "2": {"2.weight"},
    }


def test_cosine_with_warm_up_has_its_textbook_values() -> None:
    settings = TrainSettings(epochs=10, lr=1.0, warmup_epochs=2.0, weight_decay=0.0)
    expected = [1 / 3, 2 / 3] + [(1 + math.cos(math.pi * n / 8)) / 2 for n in range(8)]
    assert learning_rates(settings, 10) == pytest.approx(expected)


def test_steps_go_down_at_their_milestones() -> None:
    settings = TrainSettings(epochs=4, lr=1.0, schedule="step", milestones=(1, 3))
    assert learning_rates(settings, 8) == pytest.approx([1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_one_cycle_is_that_of_torch() -> None:
    settings = TrainSettings(epochs=10, lr=0.5, schedule="one_cycle")
    reference = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.5)
    rates, expected = OneCycleLR(reference, 0.5, total_steps=200, cycle_momentum=False), []
    for _ in range(200):
        expected.append(reference.param_groups[0]["lr"])
        reference.step()
        rates.step()
    assert learning_rates(settings, 200) == pytest.approx(expected)


@pytest.mark.parametrize("wrong", [{"schedule": "step"}, {"milestones": [3]}])
def test_milestones_belong_to_the_step_schedule(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="schedule: step needs milestones"):
        TrainSettings.model_validate({"epochs": 5} | wrong)
