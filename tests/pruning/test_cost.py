"""Costs on paper at any widths: torch's own counter and the tensors agree."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from squeeze.measure import cost as measured
from squeeze.models.blocks import build
from squeeze.models.types import Model
from squeeze.pruning import graph
from squeeze.pruning.cost import CostModel
from squeeze.recipe.schema import InputSpec, ModelBlock

Wrap = Callable[..., Model]


class Mixed(nn.Module):
    """Depthwise, grouped and transposed convolutions, a concatenation, a flattened map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, 2, 1, bias=False)
        self.depth = nn.Conv2d(12, 12, 3, 1, 1, groups=12, bias=False)
        self.grouped = nn.Conv2d(12, 16, (1, 3), 1, (0, 1), groups=4, bias=False)
        self.wide = nn.Conv2d(28, 10, 1, 2, bias=False)
        self.up = nn.ConvTranspose2d(10, 8, 2, 2, bias=False)
        self.hidden = nn.Linear(8 * 4, 20, bias=False)
        self.head = nn.Linear(20, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.depth(self.stem(x)))
        x = self.up(torch.relu(self.wide(torch.cat((x, self.grouped(x)), 1))))
        x = nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)
        return self.head(torch.relu(self.hidden(x)))  # type: ignore[no-any-return]


def mixed(wrapped: Wrap) -> Model:
    return wrapped(Mixed(), (3, 16, 16))


def library(name: str, **args: Any) -> Callable[[Wrap], Model]:
    side = 32 if name.startswith("builtin") else 64
    spec = InputSpec(shape=(3, side, side))
    return lambda _: build(ModelBlock(build=name, args=args, input=spec), Path())


MODELS = {
    "mixed": mixed,
    "resnet8": library("builtin:resnet8"),
    "padded resnet8": library("builtin:resnet8", shortcut="padded"),
    "mobilenet_v2": library("torchvision:mobilenet_v2"),
    "regnet_y_400mf": library("torchvision:regnet_y_400mf"),
    "squeezenet1_1": library("torchvision:squeezenet1_1"),
}
SLOW = {"mobilenet_v2", "regnet_y_400mf"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in MODELS]
)
def test_macs_and_weights_are_those_of_the_model(name: str, wrapped: Wrap) -> None:
    model = MODELS[name](wrapped)
    found = graph.find_groups(model)
    cost = CostModel(found, model.input)
    assert cost.names == [group.name for group in found.prunable]
    rng = np.random.default_rng(0)
    for number in range(4):
        kept = {g.name: int(rng.integers(1, g.units + 1)) for g in found.prunable}
        if number == 0:
            kept = {}
        shares = np.array([kept.get(g.name, g.units) / g.units for g in found.prunable])
        narrow = graph.narrowed(model, found, kept)
        layers = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
        parts = (part for part in narrow.module.modules() if isinstance(part, layers))
        weights = sum(part.weight.numel() for part in parts)
        assert cost.macs(shares).sum() == pytest.approx(measured.macs(narrow), rel=1e-6)
        assert cost.weights(shares).sum() == pytest.approx(weights, rel=1e-6)


def test_a_layer_that_runs_twice_costs_twice(wrapped: Wrap) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 1, bias=False)
            self.same = nn.Conv2d(4, 4, 3, 1, 1, bias=False)
            self.head = nn.Conv2d(4, 2, 1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.head(self.same(self.same(x)))  # type: ignore[no-any-return]

    model = wrapped(Twice(), (3, 8, 8))
    found = graph.find_groups(model)
    cost = CostModel(found, model.input)
    full = np.ones(len(found.prunable))
    assert cost.macs(full).sum() == measured.macs(model) == 64 * (12 + 2 * 144 + 8)


def test_no_hook_stays(wrapped: Wrap) -> None:
    model = mixed(wrapped)
    found = graph.find_groups(model)
    CostModel(found, model.input)
    assert not any(part._forward_hooks for part in found.module.modules())
