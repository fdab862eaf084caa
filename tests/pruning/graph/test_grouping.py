"""Which layer numbers the channels of a group, and what is no group."""

from dataclasses import dataclass

import torch
from support.pruned import found_in, removal_is_silence, widths
from torch import Tensor, nn


def test_channels_that_only_go_together_count_as_one() -> None:
    """A ghost module makes two channels from each of its first convolution."""

    class Ghosts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = nn.Conv2d(3, 8, 1)
            self.first = nn.Conv2d(3, 4, 1)
            self.cheap = nn.Conv2d(4, 4, 3, 1, 1, groups=4)
            self.last = nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            first = self.first(x)
            return self.last(self.wide(x) + torch.cat((first, self.cheap(first)), dim=1))  # type: ignore[no-any-return]

    found = found_in(Ghosts())
    assert widths(found) == {"first": (4, 1)}
    removal_is_silence(found)


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
            return self.last(torch.cat((self.two(x), self.six(x)), dim=1) + self.eight(x))  # type: ignore[no-any-return]

    found = found_in(Joined())
    assert widths(found) == {"eight": (8, 1)}
    sides = {
        (own.path, own.is_out): list(zip(own.indices, own.roots, strict=True))
        for own in found.prunable[0].dependencies
    }
    assert sides["two", True] == [(0, 0), (1, 1)]
    assert sides["six", True] == [(i, i + 2) for i in range(6)]


def test_layers_behind_a_join_do_not_tie_those_in_front_together() -> None:
    class Forked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left = nn.Conv2d(3, 4, 1)
            self.right = nn.Conv2d(3, 6, 1)
            self.each = nn.Conv2d(10, 10, 3, groups=10)
            self.last = nn.Conv2d(10, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.each(torch.cat((self.left(x), self.right(x)), dim=1)))  # type: ignore[no-any-return]

    found = found_in(Forked())
    assert widths(found) == {"left": (4, 1), "right": (6, 1)}
    removal_is_silence(found)


@dataclass
class Held:
    """A container that torch.export does not know."""

    found: Tensor


def test_every_output_stays_however_it_is_returned() -> None:
    class Several(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 1)
            self.a, self.b, self.c = (nn.Conv2d(8, width, 1) for width in (2, 3, 4))
            self.deeper = nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> dict[str, object]:
            x = torch.relu(self.stem(x))
            third = self.c(x)
            return {"a": self.a(x), "more": [(self.b(x), Held(third)), self.deeper(third)]}

    found = found_in(Several())
    assert widths(found) == {"stem": (8, 1)}
    assert {group.name for group in found.groups if group.kept == "makes the model's output"} == {
        "a", "b", "c", "deeper",
    }  # fmt: skip


def test_an_operator_that_pruning_does_not_know_keeps_what_it_touches() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.free, self.stuck = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)
            self.last = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.fft.rfft(self.stuck(torch.relu(self.free(x))).mean((2, 3))).abs()
            return self.last(nn.functional.pad(x, (0, 5)))  # type: ignore[no-any-return]

    found = found_in(Odd())
    assert widths(found) == {"free": (8, 1)}
    (stuck,) = (group for group in found.groups if group.name == "stuck")
    assert stuck.kept is not None
    assert stuck.kept.startswith("goes through 'fft_rfft', which pruning does not know, in")
    removal_is_silence(found)
