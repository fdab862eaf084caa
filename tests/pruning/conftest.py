"""Small networks whose coupled channels are plain to see."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from squeeze.models.types import Architecture, Model
from squeeze.pruning.groups import ChannelGroup, Dependency
from squeeze.recipe.schema import InputSpec

Wrap = Callable[..., Model]
Group = Callable[..., ChannelGroup]


@pytest.fixture
def wrapped() -> Wrap:
    """Make a model of a module, with random batch norms: fresh ones would hide what is missed."""

    def wrap(module: nn.Module, shape: tuple[int, int, int] = (3, 8, 8)) -> Model:
        torch.manual_seed(0)
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_()  # type: ignore[union-attr, operator]
                part.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr, operator]
            if isinstance(part, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm):
                nn.init.uniform_(part.weight, 0.5, 2.0)
                nn.init.normal_(part.bias)
        return Model(module.eval(), Architecture("test:x", Path(), {}, InputSpec(shape=shape)))

    return wrap


@pytest.fixture
def group() -> Group:
    """Make a group by hand: a name, channels, and how they come in parts."""

    def make(
        name: str = "a",
        channels: int = 8,
        parts: int = 1,
        *,
        whole: bool = False,
        dependencies: Sequence[Dependency] = (),
    ) -> ChannelGroup:
        return ChannelGroup(name, channels, parts, whole, tuple(dependencies), None)

    return make


class Residual(nn.Module):
    """A stem, a sum of two branches and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 6, 3, 1, 1)
        self.outer = nn.Conv2d(6, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = x + self.outer(torch.relu(self.inner(x)))
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


@pytest.fixture
def residual(wrapped: Wrap) -> Model:
    """A network with two groups: ``outer`` (8 channels, a sum) and ``inner`` (6)."""
    torch.manual_seed(0)
    return wrapped(Residual())
