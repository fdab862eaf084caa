"""How the channels of a group are numbered, and that nothing is said while it is found out."""

import torch
from torch import Tensor, nn

from squeeze.pruning import tracing


class Ghosts(nn.Module):
    """A sum of two layers, one of which makes two channels from each of its first four."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 8, 1)
        self.first = nn.Conv2d(3, 4, 1)
        self.cheap = nn.Conv2d(4, 4, 3, 1, 1, groups=4)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        return self.last(self.wide(x) + torch.cat((first, self.cheap(first)), dim=1))


def found(module: nn.Module, size: int = 8) -> dict[str, int]:
    """Return the layer that numbers each group, and how many channels it has."""
    names = {part: name for name, part in module.named_modules()}
    graph = tracing.trace(module.eval(), torch.zeros(1, 3, size, size))
    return {
        names[members[0].dep.target.module]: len(members[0].idxs)
        for members in tracing.groups(graph)
    }


def test_channels_that_only_go_together_count_as_one() -> None:
    module = Ghosts()
    assert found(module) in ({"first": 4, "last": 2}, {"cheap": 4, "last": 2})


def test_a_layer_that_reaches_only_a_part_numbers_nothing() -> None:
    """Two of eight channels are made by a narrower layer, the others by another one."""

    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.two = nn.Conv2d(3, 2, 1)
            self.six = nn.Conv2d(3, 6, 1)
            self.eight = nn.Conv2d(3, 8, 1)
            self.last = nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.cat((self.two(x), self.six(x)), dim=1) + self.eight(x))

    assert found(Joined()) == {"eight": 8, "last": 2}


def test_layers_behind_a_join_do_not_tie_those_in_front_together() -> None:
    class Forked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left = nn.Conv2d(3, 4, 1)
            self.right = nn.Conv2d(3, 6, 1)
            self.each = nn.Conv2d(10, 10, 3, groups=10)
            self.last = nn.Conv2d(10, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.each(torch.cat((self.left(x), self.right(x)), dim=1)))

    assert found(Forked()) == {"left": 4, "right": 6, "last": 2}
