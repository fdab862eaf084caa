"""Blocks of detectors as they are written today, and networks drawn at random."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pruned import found_in, removal_is_silence, widths
from support.yolo_networks import Yolo
from torch import Tensor, nn

from squeeze.pruning.graph import OUTPUT


class ConvNorm(nn.Sequential):
    """A convolution, its norm and an activation."""

    def __init__(self, width_in: int, width: int, size: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(width_in, width, size, 1, size // 2, groups=groups, bias=False),
            nn.BatchNorm2d(width),
            nn.SiLU(),
        )


class Partial(nn.Module):
    """A cross-stage block: halves of a chunk, of which one grows, and all joined again."""

    def __init__(self, width_in: int, width: int, depth: int) -> None:
        super().__init__()
        self.cv1 = ConvNorm(width_in, 2 * width)
        self.cv2 = ConvNorm((2 + depth) * width, width)
        self.m = nn.ModuleList(
            nn.Sequential(ConvNorm(width, width // 2, 3), ConvNorm(width // 2, width, 3))
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.cv1(x).chunk(2, 1))
        for block in self.m:
            parts.append(parts[-1] + block(parts[-1]))
        return self.cv2(torch.cat(parts, 1))  # type: ignore[no-any-return]


def test_a_detector_of_cross_stage_blocks() -> None:
    class Neck(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = ConvNorm(3, 8, 3)
            self.first, self.second = Partial(8, 8, 1), Partial(8, 12, 2)
            self.pool = nn.MaxPool2d(5, 1, 2)
            self.spread = ConvNorm(12 * 3, 10)
            self.third = Partial(18, 8, 1)
            self.heads = nn.ModuleList(nn.Conv2d(width, 5, 1) for width in (8, 10))

        def forward(self, x: Tensor) -> list[Tensor]:
            shallow = self.first(self.stem(x))
            deep = self.second(nn.functional.max_pool2d(shallow, 2))
            pools = [deep, self.pool(deep), self.pool(self.pool(deep))]
            deep = self.spread(torch.cat(pools, 1))
            up = nn.functional.interpolate(deep, scale_factor=2.0)
            third = self.third(torch.cat((up, shallow), 1))
            return [self.heads[0](third), self.heads[1](deep)]

    found = found_in(Neck())
    assert len(found.prunable) == len(found.groups) - 2
    assert widths(found)["first.m.0.1.0"] == (8, 1), "the half that grows, and the other one"
    removal_is_silence(found)


def test_a_detector_of_the_size_of_yolo11n() -> None:
    torch.manual_seed(0)
    found = found_in(Yolo(), (3, 64, 64))
    assert sum(p.numel() for p in found.module.parameters()) == 2_624_064
    kept = {group.name: group.kept for group in found.groups if group.kept}
    outputs = {f"heads.{i}.{name}" for i in range(3) for name in ("boxes.2", "classes.4")}
    assert {name for name, reason in kept.items() if reason == OUTPUT} == outputs
    # queries and keys of a head are twice as many rows as its values, in one layer
    assert {name: reason for name, reason in kept.items() if reason != OUTPUT} == {
        "deep.3.attention.qkv.0": "has channels that come in unequal numbers"
    }
    removal_is_silence(found, (3, 64, 64), seeds=1)


Draw = st.DrawFn


@st.composite
def networks(draw: Draw) -> nn.Module:
    """Draw a network whose layers read any of the maps before them."""
    depth = draw(st.integers(2, 5))
    steps: list[tuple[str, int, int, int]] = [
        (
            draw(
                st.sampled_from(["conv", "grouped", "depthwise", "add", "cat", "gate", "shuffle"])
            ),
            draw(st.integers(0, 9)),
            draw(st.integers(0, 9)),
            draw(st.sampled_from([4, 6, 8])),
        )
        for _ in range(depth)
    ]
    return Drawn(steps)


class Drawn(nn.Module):
    """A network by a list of steps: what, two maps that it reads, and a width."""

    def __init__(self, steps: list[tuple[str, int, int, int]]) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 8, 3)
        self.layers = nn.ModuleDict()
        self.steps = steps
        made = [8]
        for number, (kind, first, second, width) in enumerate(steps):
            one, two = made[first % len(made)], made[second % len(made)]
            name = str(number)
            if kind == "grouped" and one % 2 == 0:
                self.layers[name] = ConvNorm(one, width, 3, groups=2)
            elif kind == "depthwise":
                self.layers[name], width = ConvNorm(one, one, 3, groups=one), one  # noqa: PLW2901
            elif kind in {"add", "gate"}:
                self.layers[name], width = nn.Conv2d(two, one, 1), one  # noqa: PLW2901
            elif kind == "cat":
                width = one + two  # noqa: PLW2901
            elif kind == "shuffle" and one % 2 == 0:
                width = one  # noqa: PLW2901
            else:
                self.layers[name] = ConvNorm(one, width)
            made.append(width)
        self.head = nn.Linear(sum(made[-2:]) * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        made = [self.stem(x)]
        for number, (kind, first, second, _) in enumerate(self.steps):
            one, two = made[first % len(made)], made[second % len(made)]
            layer = self.layers[str(number)] if str(number) in self.layers else None  # noqa: SIM401
            if kind == "add":
                found = one + layer(two)  # type: ignore[misc]
            elif kind == "gate":
                found = one * torch.sigmoid(layer(two.mean((2, 3), keepdim=True)))  # type: ignore[misc]
            elif kind == "cat":
                found = torch.cat((one, two), 1)
            elif layer is None:
                n, c, h, w = one.shape
                found = one.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
            else:
                found = layer(one)
            made.append(found)
        last = torch.cat([nn.functional.adaptive_avg_pool2d(own, 4) for own in made[-2:]], 1)
        return self.head(last.flatten(1))  # type: ignore[no-any-return]


@settings(deadline=None, max_examples=8)
@given(module=networks())
def test_networks_drawn_at_random(module: nn.Module) -> None:
    removal_is_silence(found_in(module), seeds=2)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@settings(deadline=None, max_examples=500)
@given(module=networks())
def test_many_networks_drawn_at_random(module: nn.Module) -> None:
    removal_is_silence(found_in(module), seeds=2)
