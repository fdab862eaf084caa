"""Networks whose coupling is easily mistaken: pruned right, or left with the reason."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from support.coupled_networks import ChannelsLast, Net
from torch import Tensor, nn
from torch.nn import functional

from squeeze.models.copying import copied
from squeeze.models.types import Model
from squeeze.pruning import graph
from squeeze.pruning.groups import PruningGroups

Wrap = Callable[..., Model]


class TwoMaps(Net):
    """Two flattened maps of different sizes, side by side."""

    def __init__(self) -> None:
        super().__init__(wide=8 * 16 + 8 * 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.adaptive_avg_pool2d(self.features(x), 4)
        y = functional.adaptive_avg_pool2d(torch.relu(self.b(x)), 2)
        return self.head(torch.cat((x.flatten(1), y.flatten(1)), 1))  # type: ignore[no-any-return]


class JoinedMaps(Net):
    """Two maps that are joined, and flattened then."""

    def __init__(self) -> None:
        super().__init__(b=16, wide=24 * 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = torch.cat((x, torch.relu(self.b(x))), 1)
        return self.head(functional.adaptive_avg_pool2d(x, 2).flatten(1))  # type: ignore[no-any-return]


class GroupsBehindJoin(Net):
    """A grouped convolution whose groups are not the branches in front of it."""

    def __init__(self) -> None:
        super().__init__(8, 24, 32, c=nn.Conv2d(32, 32, 3, padding=1, groups=4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = torch.cat((x, torch.relu(self.b(x))), 1)
        return self.head(torch.relu(self.c(x)).mean((2, 3)))  # type: ignore[no-any-return, operator]


class Shuffled(Net):
    """Grouped, shuffled, grouped, as in ShuffleNet."""

    def __init__(self) -> None:
        super().__init__(
            24,
            24,
            24,
            c=nn.Conv2d(24, 24, 1, groups=3),
            shuffle=nn.ChannelShuffle(3),
            d=nn.Conv2d(24, 24, 1, groups=3),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.c(self.features(x)))  # type: ignore[operator]
        return self.head(torch.relu(self.d(self.shuffle(x))).mean((2, 3)))  # type: ignore[no-any-return, operator]


class OneChannelMask(Net):
    """A map times a mask of one channel."""

    def __init__(self) -> None:
        super().__init__(mask=nn.Conv2d(3, 1, 3, padding=1))

    def features(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.mask(x)) * torch.relu(self.a(x))  # type: ignore[no-any-return, operator]


class WeightedSum(Net):
    """Learned weights of a sum, as in BiFPN."""

    def __init__(self) -> None:
        super().__init__(c=nn.Conv2d(8, 8, 1))
        self.w = nn.Parameter(torch.tensor([1.0, 0.5]))

    def features(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x))
        weights = self.w.relu() / (self.w.relu().sum() + 1e-4)
        return weights[0] * x + weights[1] * torch.relu(self.c(x))  # type: ignore[no-any-return, operator]


class NeighbourGate(Net):
    """A gate that looks at the channels next to its own, as in ECA."""

    def __init__(self) -> None:
        super().__init__(gate=nn.Conv1d(1, 1, 3, padding=1, bias=False))

    def features(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x))
        gate = self.gate(x.mean((2, 3)).unsqueeze(1)).squeeze(1)  # type: ignore[operator]
        return x * torch.sigmoid(gate)[:, :, None, None]


class Mixer(nn.Module):
    """Mixes positions, then channels."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 12, 4, 4)
        self.t1, self.t2 = nn.Linear(4, 10), nn.Linear(10, 4)
        self.c1, self.c2 = nn.Linear(12, 14), nn.Linear(14, 12)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2)
        x = x + self.t2(torch.relu(self.t1(x)))
        x = x.transpose(1, 2)
        x = x + self.c2(torch.relu(self.c1(x)))
        return self.head(x.mean(1))  # type: ignore[no-any-return]


class Recurrent(Net):
    """Columns read by a recurrent layer."""

    def __init__(self) -> None:
        super().__init__(wide=6, g=nn.GRU(8, 6, batch_first=True))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.b(self.features(x))).mean(2).transpose(1, 2)
        return self.head(self.g(x)[0][:, -1])  # type: ignore[no-any-return, operator]


class ChannelMean(Net):
    """Reads all channels, without a weight for each."""

    def features(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x))
        return x * x.mean(1, keepdim=True)


class Softplus(Net):
    """A function of zero that is not zero, and a gate on channels."""

    def features(self, x: Tensor) -> Tensor:
        return functional.softplus(self.a(x))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.sigmoid(self.b(self.features(x)))
        return self.head((x * torch.cos(x.mean((2, 3), keepdim=True))).mean((2, 3)))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Case:
    """A network, its groups that go, and why others stay, as patterns.

    Attributes:
        dead: Whether silent channels can be dead: a function of zero is zero.
    """

    make: Callable[[], nn.Module]
    pruned: set[str]
    kept: dict[str, str]
    dead: bool = True


CASES = {
    "channels last": Case(ChannelsLast, {"a", "b"}, {}),
    "two maps": Case(TwoMaps, {"a", "b"}, {}),
    "joined maps": Case(JoinedMaps, {"a", "b"}, {}),
    "groups behind a join": Case(GroupsBehindJoin, {"a", "c"}, {}),
    "shuffled": Case(Shuffled, {"a", "d"}, {"c": "has one channel per part"}),
    "mask of one channel": Case(OneChannelMask, {"a", "b"}, {"mask": "has a single channel"}),
    "weighted sum": Case(WeightedSum, {"c", "b"}, {}),
    "gate of neighbours": Case(
        NeighbourGate,
        {"b"},
        {
            "a": r"is mixed as positions of a convolution in gate \(Conv1d\), \w+.py:\d+$",
            "gate": "has a single channel",
        },
    ),
    "mixer": Case(
        Mixer,
        {"c2", "c1", "t1"},
        {"t2": r"meets numbers that no layer makes in the model \(Mixer\), \w+.py:\d+$"},
        dead=False,
    ),
    "recurrent": Case(Recurrent, {"a", "b"}, {}),
    "mean over channels": Case(
        ChannelMean,
        {"b"},
        {"a": r"is reduced by 'mean' in the model \(ChannelMean\), \w+.py:\d+$"},
    ),
    "softplus": Case(Softplus, {"a", "b"}, {}, dead=False),
}


@pytest.mark.parametrize("name", list(CASES))
def test_what_is_pruned_is_right_and_the_rest_stays(name: str, wrapped: Wrap) -> None:
    case = CASES[name]
    torch.manual_seed(0)
    model = wrapped(case.make())
    found = graph.find_groups(model)
    kept = {g.name: g.kept for g in found.groups if g.kept and g.kept != graph.OUTPUT}
    assert {g.name for g in found.prunable} == case.pruned
    assert kept.keys() == case.kept.keys()
    for group, pattern in case.kept.items():
        assert re.search(pattern, kept[group] or ""), kept[group]
    if case.dead:
        gone = deaden_(found)
        pruned = copied(found.module)
        graph.remove_(pruned, found.groups, gone)
        images = torch.randn(4, 3, 8, 8)
        with torch.no_grad():
            torch.testing.assert_close(pruned(images), found.module(images))
        sizes = [sum(p.numel() for p in m.parameters()) for m in (found.module, pruned)]
        assert sizes[1] < sizes[0] or not gone


def deaden_(found: PruningGroups) -> dict[str, set[int]]:
    """Zero what makes the first half of every group's units, and return these."""
    gone = {group.name: set(range(group.units // 2)) for group in found.prunable}
    with torch.no_grad():
        for group in found.prunable:
            dead = {c for unit in gone[group.name] for c in group.of_unit(unit)}
            for side in group.dependencies:
                if side.is_out and side.dimension is None:
                    layer: Any = found.module.get_submodule(side.path)
                    pairs = zip(side.indices, side.roots, strict=True)
                    rows = [index for index, root in pairs if root in dead]
                    layer.weight[rows] = 0
                    layer.bias[rows] = 0
    return gone
