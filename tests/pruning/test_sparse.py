"""What regularisers add to the gradients, weight by weight."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from squeeze.core import plugins
from squeeze.models.types import Model
from squeeze.pruning import graph
from squeeze.pruning.sparse.base import GroupWeights, Regularizer, all_weights

Wrap = Callable[..., Model]


@pytest.fixture
def chain(wrapped: Wrap) -> Model:
    """A stem, a depthwise and a grouped convolution with norms, a head on a 2x2 map."""
    torch.manual_seed(0)
    layers = (
        nn.Conv2d(3, 4, 3),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 6, 1, groups=2),
        nn.GroupNorm(2, 6),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 3),
    )
    return wrapped(nn.Sequential(*layers))


def norms(module: Any) -> dict[str, Tensor]:
    """Return the squared norm of every channel: of the stem, and of the grouped convolution.

    What the grouped convolution reads is not counted: its weights belong to several channels.
    """

    def rows(layer: int) -> Tensor:
        return module[layer].weight.detach().flatten(1).pow(2).sum(1)  # type: ignore[no-any-return]

    head = module[7].weight.detach().reshape(3, 6, 4).pow(2).sum((0, 2))
    return {
        "0": rows(0) + rows(1) + module[2].weight.detach() ** 2,
        "3": rows(3) + module[4].weight.detach() ** 2 + head,
    }


def decays(module: Any, strengths: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what is added to every weight's gradient for strengths per channel."""
    stem, grouped = strengths["0"], strengths["3"]
    column = grouped.repeat_interleave(4)
    return {
        "0.weight": module[0].weight * stem.view(-1, 1, 1, 1),
        "1.weight": module[1].weight * stem.view(-1, 1, 1, 1),
        "2.weight": module[2].weight * stem,
        "3.weight": module[3].weight * grouped.view(-1, 1, 1, 1),
        "4.weight": module[4].weight * grouped,
        "7.weight": module[7].weight * column,
    }


def opened(
    model: Model, name: str, strength: float, keep: tuple[str, ...] = ()
) -> tuple[nn.Module, Regularizer]:
    found = graph.find_groups(model, keep=keep)
    plugin = plugins.load(plugins.SPARSE, name)
    return found.module, plugin.regularizer(all_weights(found, found.prunable), strength)


def added(module: nn.Module, pull: Regularizer) -> dict[str, Tensor]:
    """Return what a step adds to gradients of one, of every parameter it changes."""
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    pull()
    changes = {name: p.grad - 1 for name, p in module.named_parameters() if p.grad is not None}
    return {name: change for name, change in changes.items() if bool(change.any())}


def check(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, change in expected.items():
        if bool(change.any()):
            torch.testing.assert_close(got.pop(name), change.detach(), rtol=1e-4, atol=1e-6)
    assert not got


def test_norms_of_channels_count_all_that_they_own(chain: Model) -> None:
    found = graph.find_groups(chain)
    weights = {w.name: w for w in all_weights(found, found.prunable)}
    for name, expected in norms(found.module).items():
        torch.testing.assert_close(weights[name].squared_norms(), expected)


def test_group_norm_decays_weak_channels_most(chain: Model) -> None:
    module, pull = opened(chain, "group_norm", 0.01)
    strengths = {}
    for name, squares in norms(module).items():
        norm = squares.sqrt()
        weakness = (norm.max() - norm) / (norm.max() - norm.min())
        strengths[name] = 0.01 * 2 ** (4 * weakness)
        assert strengths[name].min() == pytest.approx(0.01)
        assert strengths[name].max() == pytest.approx(0.16)
    check(added(module, pull), decays(module, strengths))


def test_growing_regularisation_grows_every_ten_steps(chain: Model) -> None:
    module, pull = opened(chain, "growing_reg", 0.01)
    grown = {
        name: 0.01 * (squares.max() - squares) / (squares.max() - squares.min())
        for name, squares in norms(module).items()
    }
    for step in range(21):
        times = step // 10 + 1
        expected = {name: strength * times for name, strength in grown.items()}
        check(added(module, pull), decays(module, expected))


def test_bn_scale_pulls_scales_by_their_sign(chain: Model) -> None:
    with torch.no_grad():
        chain.module[2].weight[1] *= -1  # type: ignore[index, union-attr, operator]
    module, pull = opened(chain, "bn_scale", 0.25)
    assert module[2].weight[1] < 0  # type: ignore[index, union-attr, operator]
    check(added(module, pull), {"2.weight": 0.25 * module[2].weight.sign()})  # type: ignore[index, union-attr, operator]


class Dense(nn.Module):
    """One batch norm over the channels of two groups."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 1)
        self.grow = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(7)
        self.head = nn.Conv2d(7, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(self.norm(torch.cat((x, self.grow(x)), 1)))  # type: ignore[no-any-return]


def test_a_norm_of_two_groups_is_pulled_once(wrapped: Wrap) -> None:
    module, pull = opened(wrapped(Dense()), "bn_scale", 0.25)
    check(added(module, pull), {"norm.weight": 0.25 * module.norm.weight.sign()})  # type: ignore[union-attr, operator]


def test_channels_that_stay_are_not_pulled(wrapped: Wrap) -> None:
    module, pull = opened(wrapped(Dense()), "bn_scale", 0.25, keep=("stem",))
    expected = torch.tensor([0, 0, 0, 1, 1, 1, 1]) * 0.25 * module.norm.weight.sign()  # type: ignore[union-attr, operator]
    check(added(module, pull), {"norm.weight": expected})
    module, pull = opened(wrapped(Dense()), "group_norm", 0.25, keep=("stem",))
    got = added(module, pull)
    assert set(got) == {"grow.weight", "norm.weight", "head.weight"}
    assert not got["norm.weight"][:3].any()
    assert got["norm.weight"][3:].all()
    assert not got["head.weight"][:, :3].any()


@pytest.mark.parametrize("name", ["group_norm", "growing_reg"])
def test_equal_channels_are_pulled_equally(wrapped: Wrap, name: str) -> None:
    model = wrapped(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)))
    for layer in model.module:  # type: ignore[attr-defined, union-attr]
        nn.init.ones_(layer.weight)
    module, pull = opened(model, name, 0.5)
    got = added(module, pull)
    if name == "growing_reg":
        assert not got  # none is weaker than another
    else:
        assert got["0.weight"] == pytest.approx(0.5 * torch.ones(4, 3, 1, 1))


@pytest.mark.parametrize("name", sorted(plugins.names(plugins.SPARSE)))
def test_parameters_without_a_gradient_are_left_alone(chain: Model, name: str) -> None:
    module, pull = opened(chain, name, 0.1)
    pull()
    assert all(p.grad is None for p in module.parameters())


def test_transposed_convolutions_are_read_the_other_way_round(wrapped: Wrap) -> None:
    layers = (nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 5, 2), nn.Conv2d(5, 2, 1))
    model = wrapped(nn.Sequential(*layers))
    found = graph.find_groups(model)
    weights = {g.name: GroupWeights(found.module, g) for g in found.prunable}
    first, middle, last = (layer.weight.detach() ** 2 for layer in found.module)  # type: ignore[attr-defined, union-attr]
    torch.testing.assert_close(
        weights["0"].squared_norms(), first.sum((1, 2, 3)) + middle.sum((1, 2, 3))
    )
    torch.testing.assert_close(
        weights["1"].squared_norms(), middle.sum((0, 2, 3)) + last.sum((0, 2, 3))
    )
