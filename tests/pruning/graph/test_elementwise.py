"""Operators place by place tie what meets, and nothing that is only spread."""

import torch
from support.pruned import found_in, reasons, removal_is_silence, widths
from torch import Tensor, nn


def test_a_mask_of_one_channel_ties_nothing() -> None:
    class Mask(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, 1, 1)
            self.mask = nn.Conv2d(3, 1, 3, 1, 1)
            self.last = nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.sigmoid(self.mask(x)) * self.conv(x))  # type: ignore[no-any-return]

    found = found_in(Mask())
    assert widths(found) == {"conv": (8, 1)}
    assert reasons(found) == {"mask": "has a single channel"}
    removal_is_silence(found)


def test_weights_of_a_weighted_sum_tie_nothing() -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 8, 3, 1, 1)
            self.second = nn.Conv2d(8, 8, 3, 1, 1)
            self.scales = nn.Parameter(torch.tensor([1.0, 0.5]))
            self.last = nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            scales = self.scales.relu() / (self.scales.relu().sum() + 1e-4)
            x = torch.relu(self.first(x))
            return self.last(scales[0] * x + scales[1] * torch.relu(self.second(x)))  # type: ignore[no-any-return]

    found = found_in(Weighted())
    assert widths(found) == {"second": (8, 1)}
    assert {own.path for own in found.prunable[0].dependencies} == {"first", "second", "last"}
    removal_is_silence(found)


def test_scales_and_shifts_go_with_their_channels() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)
            self.scale = nn.Parameter(torch.randn(8, 1, 1))
            self.register_buffer("shift", torch.randn(1, 8, 1, 1))
            self.slope = nn.PReLU(8)
            self.last = nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.slope(self.conv(x) * self.scale + self.shift))  # type: ignore[no-any-return, operator]

    found = found_in(Scaled())
    assert widths(found) == {"conv": (8, 1)}
    bare = {
        (own.path, own.dimension)
        for own in found.prunable[0].dependencies
        if own.dimension is not None
    }
    assert bare == {("scale", 0), ("shift", 1), ("slope.weight", 0)}
    removal_is_silence(found)


def test_a_gate_per_channel_goes_with_the_channels() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, 1, 1)
            self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
            self.last = nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            gate = self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True))))
            return self.last(x * torch.sigmoid(gate))  # type: ignore[no-any-return]

    found = found_in(Gate())
    assert {name: own[0] for name, own in widths(found).items()} == {"excite": 8, "squeeze": 4}
    removal_is_silence(found)


def test_numbers_written_for_every_channel_keep_them() -> None:
    class Offset(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.last = nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x) + torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
            return self.last(x)  # type: ignore[no-any-return]

    found = found_in(Offset())
    (reason,) = reasons(found).values()
    assert reason.startswith("meets numbers that no layer makes in the model (Offset)")


def test_a_sum_with_the_image_keeps_its_channels() -> None:
    class Plus(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.last = nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(x + self.conv(x))  # type: ignore[no-any-return]

    assert not found_in(Plus()).prunable


def test_constants_alike_for_all_channels_keep_nothing() -> None:
    class Alike(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)
            self.last = nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            row = torch.arange(8.0).view(1, 1, 1, 8)
            return self.last(torch.where(row > 2, x * row, torch.zeros_like(x)))  # type: ignore[no-any-return]

    found = found_in(Alike())
    assert widths(found) == {"conv": (8, 1)}
    removal_is_silence(found)


def test_a_block_under_a_context_is_followed() -> None:
    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)
            self.last = nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            with torch.autocast("cpu", enabled=False):
                x = x.float() * x.clamp_min(0.1)
            return self.last(x)  # type: ignore[no-any-return]

    found = found_in(Cast())
    assert widths(found) == {"conv": (8, 1)}
    removal_is_silence(found)


def test_a_gated_unit_halves_its_channels() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 8, 1), nn.GLU(1), nn.Conv2d(4, 2, 1))
    found = found_in(layers)
    assert widths(found) == {"0": (8, 2)}
    removal_is_silence(found)
