"""Norms go with their channels; what counts over channels keeps them, with the reason."""

from typing import Any

import pytest
import torch
from support.pruned import found_in, reasons, removal_is_silence, widths
from torch import Tensor, nn

from squeeze.models.copying import copied
from squeeze.pruning.graph import remove_


class Around(nn.Module):
    """A convolution, something, and a last convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 1, 1)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.conv(x)))  # type: ignore[no-any-return]

    def middle(self, x: Tensor) -> Tensor:
        return x


def test_norms_over_channels_are_marked() -> None:
    for norm, marked in (
        (nn.BatchNorm2d(8), False),
        (nn.InstanceNorm2d(8, affine=True), False),
        (nn.GroupNorm(1, 8), True),
        (nn.GroupNorm(2, 8), True),
    ):
        found = found_in(nn.Sequential(nn.Conv2d(3, 8, 1), norm, nn.Conv2d(8, 2, 1)))
        assert [group.renormed for group in found.prunable] == [marked], norm


def test_instance_norms_lose_their_channels() -> None:
    found = found_in(
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.InstanceNorm2d(8, affine=True), nn.Conv2d(8, 2, 1))
    )
    assert widths(found) == {"0": (8, 1)}
    removal_is_silence(found)


def test_standardised_weights_count_as_a_norm_over_what_they_read() -> None:
    class Standardised(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            rows = self.weight.reshape(1, self.out_channels, -1)
            weight = nn.functional.batch_norm(rows, None, None, training=True)
            return nn.functional.conv2d(x, weight.reshape_as(self.weight), self.bias)

    layers = nn.Sequential(nn.Conv2d(3, 8, 1), Standardised(8, 6, 1), nn.Conv2d(6, 2, 1))
    found = found_in(layers)
    assert {group.name: (group.channels, group.renormed) for group in found.prunable} == {
        "0": (8, True),
        "1": (6, False),
    }


def test_a_blur_whose_filter_is_a_buffer_loses_channels() -> None:
    class Blur(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.channels = 8
            self.register_buffer("kernel", torch.full((8, 1, 3, 3), 1 / 9))

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.conv2d(x, self.kernel, groups=self.channels)  # type: ignore[arg-type]

    found = found_in(nn.Sequential(nn.Conv2d(3, 8, 1), Blur(), nn.Conv2d(8, 2, 1)))
    assert widths(found) == {"0": (8, 1)}
    removal_is_silence(found)


def test_pooling_and_resizing_pass_channels() -> None:
    class Pooled(Around):
        def middle(self, x: Tensor) -> Tensor:
            x = nn.functional.max_pool2d(x, 2) + nn.functional.avg_pool2d(x, 2)
            return nn.functional.interpolate(x, scale_factor=2, mode="bilinear")

    found = found_in(Pooled())
    assert widths(found) == {"conv": (8, 1)}
    removal_is_silence(found)


def test_a_length_over_channels_counts_no_zeros() -> None:
    class Normalized(Around):
        def middle(self, x: Tensor) -> Tensor:
            return x / (x.norm(dim=1, keepdim=True) + (x * x).sum(1, keepdim=True) + 1)

    found = found_in(Normalized())
    assert widths(found) == {"conv": (8, 1)}
    removal_is_silence(found)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: x.mean(1, keepdim=True) * x, "is reduced by 'mean'"),
        (lambda x: x.amax(1, keepdim=True) * x, "is reduced by 'amax'"),
        (lambda x: x.softmax(1), "goes through 'softmax'"),
        (lambda x: x.cumsum(1), "goes through 'cumsum'"),
        (lambda x: torch.cdist(x.flatten(2), x.flatten(2)).mean() * x, "goes through '_cdist"),
    ],
)
def test_what_counts_over_channels_keeps_them(function: object, said: str) -> None:
    class Counted(Around):
        def middle(self, x: Tensor) -> Tensor:
            return function(x)  # type: ignore[operator, no-any-return]

    found = found_in(Counted())
    (reason,) = reasons(found).values()
    assert said in reason or "cdist" in reason
    assert "Counted" in reason
    assert "test_norms_and_reductions.py" in reason


def test_gates_that_mix_neighbouring_channels_keep_them() -> None:
    class Eca(Around):
        def __init__(self) -> None:
            super().__init__()
            self.eca = nn.Conv1d(1, 1, 3, padding=1, bias=False)

        def middle(self, x: Tensor) -> Tensor:
            gate = self.eca(x.mean((2, 3)).unsqueeze(1)).squeeze(1)
            return x * torch.sigmoid(gate)[:, :, None, None]

    reason = reasons(found_in(Eca()))["conv"]
    assert reason.startswith("is mixed as positions of a convolution in eca (Conv1d)")


@pytest.mark.parametrize(
    "norm",
    [
        nn.InstanceNorm2d(8),
        nn.GroupNorm(2, 8, affine=False),
        nn.BatchNorm2d(8, affine=False),
        nn.BatchNorm2d(8, affine=False, track_running_stats=False),
    ],
)
def test_norms_without_weights_count_channels(norm: nn.Module) -> None:
    found = found_in(nn.Sequential(nn.Conv2d(3, 8, 1), norm, nn.Conv2d(8, 2, 1)))
    assert [group.channels for group in found.prunable] == [8]
    group = found.prunable[0]
    module = copied(found.module)
    remove_(module, found.groups, {group.name: {0}})
    left: Any = module[1]  # type: ignore[index]
    assert getattr(left, "num_features", None) in {8 - group.parts, None}
    assert getattr(left, "num_channels", None) in {8 - group.parts, None}
    assert module(torch.randn(2, 3, 8, 8)).shape == (2, 2, 8, 8)


def test_a_layer_norm_without_weights_counts_channels() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8, elementwise_affine=False)
            self.head = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(self.conv(x).flatten(2).transpose(1, 2))
            return self.head(x.mean(1))  # type: ignore[no-any-return]

    found = found_in(Tokens())
    assert {group.name: group.renormed for group in found.prunable} == {"conv": True}
    module = copied(found.module)
    remove_(module, found.groups, {"conv": {1, 2}})
    assert module.norm.normalized_shape == (6,)  # type: ignore[union-attr]
