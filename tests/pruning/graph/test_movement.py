"""What only moves elements is followed to the right place, whatever way they take."""

import torch
from support.pruned import found_in, reasons, removal_is_silence, widths
from torch import Tensor, nn
from torch.nn import functional


class Between(nn.Module):
    """A convolution, something in the middle, and a linear layer that reads everything."""

    def __init__(self, width: int = 8, positions: int = 16) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, 2, 1)
        self.head = nn.Linear(width * positions, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(torch.relu(self.conv(x))))  # type: ignore[no-any-return]

    def middle(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def test_a_map_flattened_with_channels_last() -> None:
    class Last(Between):
        def middle(self, x: Tensor) -> Tensor:
            return x.permute(0, 2, 3, 1).flatten(1)

    found = found_in(Last())
    assert widths(found) == {"conv": (8, 1)}
    (read,) = (own for own in found.groups[0].dependencies if own.path == "head")
    third = [i for i, root in zip(read.indices, read.roots, strict=True) if root == 3]
    assert third == list(range(3, 128, 8))
    removal_is_silence(found)


def test_two_maps_of_different_sizes_flattened_side_by_side() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 6, 3, 2, 1)
            self.second = nn.Conv2d(6, 4, 3, 2, 1)
            self.head = nn.Linear(6 * 16 + 4 * 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            first = torch.relu(self.first(x))
            second = torch.relu(self.second(first))
            return self.head(torch.cat((first.flatten(1), second.flatten(1)), 1))  # type: ignore[no-any-return]

    found = found_in(Two())
    assert widths(found) == {"first": (6, 1), "second": (4, 1)}
    removal_is_silence(found)


def test_a_join_flattened_as_one() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 6, 3, 2, 1)
            self.second = nn.Conv2d(6, 4, 3, 1, 1)
            self.head = nn.Linear(10 * 16, 3)

        def forward(self, x: Tensor) -> Tensor:
            first = torch.relu(self.first(x))
            return self.head(torch.cat((first, self.second(first)), 1).flatten(1))  # type: ignore[no-any-return]

    found = found_in(Joined())
    assert widths(found) == {"first": (6, 1), "second": (4, 1)}
    removal_is_silence(found)


def test_windows_shifts_and_flips_of_positions_tie_nothing() -> None:
    class Windows(Between):
        def middle(self, x: Tensor) -> Tensor:
            x = functional.pad(x, (0, 0, 1, 1)).roll((1, 2), (2, 3)).flip(3)
            x = x[:, :, 1:5].permute(0, 2, 3, 1).unflatten(1, (2, 2)).unflatten(3, (2, 2))
            return x.transpose(2, 3).flatten(1)

    found = found_in(Windows())
    assert widths(found) == {"conv": (8, 1)}
    removal_is_silence(found)


def test_a_pixel_shuffle_takes_the_channels_of_one_block_at_once() -> None:
    class Shuffled(nn.Module):
        def __init__(self, *, written: bool) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 24, 3, 1, 1)
            self.last = nn.Conv2d(6, 2, 1)
            self.written = written

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            if self.written:
                n, _, h, w = x.shape
                x = x.view(n, -1, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, -1, 2 * h, 2 * w)
            else:
                x = functional.pixel_shuffle(x, 2)
            return self.last(torch.relu(x))  # type: ignore[no-any-return]

    for written in (False, True):
        found = found_in(Shuffled(written=written))
        (group,) = found.prunable
        assert (group.parts, group.whole, group.units) == (6, True, 6)
        assert group.of_unit(2) == [8, 9, 10, 11]
        removal_is_silence(found)


def test_halves_of_a_chunk_stay_equal() -> None:
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)
            self.left, self.right = nn.Conv2d(4, 5, 1), nn.Conv2d(4, 5, 1)
            self.last = nn.Conv2d(5, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            left, right = torch.relu(self.conv(x)).chunk(2, 1)
            return self.last(self.left(left) + self.right(right))  # type: ignore[no-any-return]

    found = found_in(Halves())
    assert widths(found) == {"conv": (8, 2), "right": (5, 1)}
    removal_is_silence(found)


def test_a_shuffle_of_channels_in_front_of_a_split() -> None:
    class Shuffle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)
            self.last = nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.conv(x))
            n, c, h, w = x.shape
            return self.last(x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w))  # type: ignore[no-any-return]

    found = found_in(Shuffle())
    assert widths(found) == {"conv": (8, 2)}
    removal_is_silence(found)


def test_channels_picked_one_by_one_stay() -> None:
    class Picked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)
            self.last = nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.conv(x)[:, ::2])  # type: ignore[no-any-return]

    found = found_in(Picked())
    (reason,) = reasons(found).values()
    assert reason.startswith("is picked by a written position in the model (Picked), test_movement")
    assert not found.prunable


def test_positions_picked_by_data_hold_no_channel() -> None:
    class Sorted(Between):
        def middle(self, x: Tensor) -> Tensor:
            order = x.mean((1, 2)).argsort(1)
            return x.index_select(3, order[0]).flatten(1)

    found = found_in(Sorted())
    assert widths(found) in ({"conv": (8, 1)}, {})
    removal_is_silence(found) if found.prunable else None


def test_what_stands_beside_the_image_is_free_and_the_image_stays() -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, 1, 1)
            self.last = nn.Conv2d(11, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.cat((x, torch.relu(self.conv(x))), 1))  # type: ignore[no-any-return]

    found = found_in(Beside())
    assert widths(found) == {"conv": (8, 1)}
    removal_is_silence(found)
