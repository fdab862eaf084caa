"""Layers end what they read and begin what they make; products tie both sides."""

import torch
from support.pruned import found_in, reasons, removal_is_silence, widths
from torch import Tensor, nn
from torch.nn import functional


def test_a_grouped_convolution_behind_a_join() -> None:
    """Its groups begin inside the second branch; channels at one position of all groups go."""

    class Behind(nn.Module):
        def __init__(self, first: int) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, first, 1), nn.Conv2d(3, 32 - first, 1)
            self.c = nn.Conv2d(32, 16, 3, 1, 1, groups=4)
            self.last = nn.Conv2d(16, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.c(torch.cat((self.a(x), self.b(x)), 1)))  # type: ignore[no-any-return]

    found = found_in(Behind(8))
    assert widths(found) == {"a": (8, 1), "c": (16, 4)}
    removal_is_silence(found)
    uneven = found_in(Behind(12))
    assert widths(uneven) == {"c": (16, 4)}
    assert list(reasons(uneven).values()) == ["has channels that come in unequal numbers"]
    removal_is_silence(uneven)


def test_transposed_grouped_and_depthwise_convolutions() -> None:
    layers = nn.Sequential(
        nn.Conv2d(3, 12, 1),
        nn.ConvTranspose2d(12, 8, 2, 2, groups=2),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 8, 2, 2, groups=8),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.ConvTranspose2d(8, 6, 2),
        nn.Conv2d(6, 2, 1),
    )
    found = found_in(layers)
    assert widths(found) == {"0": (12, 2), "1": (8, 2), "5": (6, 1)}
    removal_is_silence(found)


def test_a_depthwise_convolution_with_a_multiplier() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 8, 3, groups=4), nn.Conv2d(8, 2, 1))
    found = found_in(layers)
    (group,) = found.prunable
    assert (group.channels, group.units) == (4, 4)
    removal_is_silence(found)


def test_other_ranks() -> None:
    class Ranks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line, self.norm = nn.Conv1d(24, 6, 3), nn.BatchNorm1d(6)
            self.volume, self.norms = nn.Conv3d(3, 5, 3), nn.BatchNorm3d(5)
            self.head = nn.Linear(11, 3)

        def forward(self, x: Tensor) -> Tensor:
            line = self.norm(self.line(x.flatten(1, 2))).mean(2)
            volume = self.norms(self.volume(x[:, :, None].expand(-1, -1, 4, -1, -1)))
            return self.head(torch.cat((line, volume.mean((2, 3, 4))), 1))  # type: ignore[no-any-return]

    found = found_in(Ranks())
    assert widths(found) == {"line": (6, 1), "volume": (5, 1)}
    removal_is_silence(found)


def test_a_layer_over_positions_passes_channels() -> None:
    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch = nn.Conv2d(3, 12, 2, 2)
            self.into, self.back = nn.Linear(16, 10), nn.Linear(10, 16)
            self.wide, self.narrow = nn.Linear(12, 14), nn.Linear(14, 12)
            self.head = nn.Linear(12, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.patch(x).flatten(2)
            x = x + self.back(functional.gelu(self.into(x)))
            x = x.transpose(1, 2)
            x = x + self.narrow(functional.gelu(self.wide(x)))
            return self.head(x.mean(1))  # type: ignore[no-any-return]

    found = found_in(Mixer())
    assert widths(found) == {"narrow": (12, 1), "into": (10, 1), "wide": (14, 1)}
    assert list(reasons(found)) == ["back"]
    removal_is_silence(found)


class Heads(nn.Module):
    """Attention written out: queries, keys and values from layers of their own."""

    def __init__(self, *, fused: bool) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 12, 4, 4)
        self.q, self.k, self.v = (nn.Linear(12, 12) for _ in range(3))
        self.out = nn.Linear(12, 12)
        self.head = nn.Linear(12, 3)
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        q, k, v = (
            own(x).unflatten(-1, (3, -1)).transpose(1, 2) for own in (self.q, self.k, self.v)
        )
        if self.fused:
            y = functional.scaled_dot_product_attention(q, k, v, scale=0.5)
        else:
            y = (q * 0.5 @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.head((x + self.out(y.transpose(1, 2).flatten(2))).mean(1))  # type: ignore[no-any-return]


def test_heads_lose_the_same_channels_or_go_whole() -> None:
    for fused in (True, False):
        found = found_in(Heads(fused=fused))
        assert {name: own for name, own in widths(found).items() if own[1] > 1} == {
            "k": (12, 3),
            "v": (12, 3),
        }
        removal_is_silence(found)
        whole = found_in(Heads(fused=fused), whole_heads=True)
        (group,) = (group for group in whole.groups if group.parts > 1)
        assert (group.units, group.unit, group.whole) == (3, 4, True)
        assert {own.path for own in group.dependencies} == {"q", "k", "v", "out"}


def test_outer_products_keep_both_sides_apart() -> None:
    class Bilinear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 5, 1)
            self.head = nn.Linear(20, 3)

        def forward(self, x: Tensor) -> Tensor:
            a, b = self.a(x).flatten(2), self.b(x).flatten(2)
            return self.head((a @ b.transpose(1, 2)).flatten(1))  # type: ignore[no-any-return]

    found = found_in(Bilinear())
    removal_is_silence(found) if found.prunable else None
    assert {group.name for group in found.groups} >= {"a", "b"}


def test_recurrent_layers_lose_inputs_only() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, 1, 1)
            self.gru = nn.GRU(8, 6, batch_first=True, bidirectional=True)
            self.head = nn.Linear(12, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.gru(self.conv(x).mean(2).transpose(1, 2))[0][:, -1])  # type: ignore[no-any-return]

    found = found_in(Recurrent())
    assert widths(found) == {"conv": (8, 1)}
    removal_is_silence(found)


def test_a_layer_used_twice_is_cut_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 6, 1)
            self.again = nn.Conv2d(6, 6, 3, 1, 1)
            self.last = nn.Conv2d(6, 2, 1)
            self.tied = nn.Conv2d(6, 2, 1)
            self.tied.weight = self.last.weight

        def forward(self, x: Tensor) -> Tensor:
            x = self.again(torch.relu(self.again(torch.relu(self.first(x)))))
            return self.last(x) + self.tied(x)  # type: ignore[no-any-return]

    found = found_in(Twice())
    assert widths(found) == {"again": (6, 1)}
    removal_is_silence(found)


def test_einsum_and_matmul_with_a_bare_parameter() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 1)
            self.mix = nn.Parameter(torch.randn(6, 6))
            self.last = nn.Conv2d(6, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.einsum("nchw,dc->ndhw", self.conv(x), self.mix)
            return self.last(x)  # type: ignore[no-any-return]

    found = found_in(Bare())
    assert widths(found) == {"conv": (6, 1)}
    assert list(reasons(found).values()) == [
        "is made by a parameter that is in no layer of a kind that pruning knows"
    ]
    removal_is_silence(found)
