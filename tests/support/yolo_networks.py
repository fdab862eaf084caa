"""A detector of the shape of YOLO11n, written from descriptions of its blocks: 2.6 million weights.

Cross-stage blocks whose halves are split and joined again, attention that splits one map into
queries, keys and values of different widths, pooled pyramids, two ways up and down, and heads of
ordinary and depthwise convolutions on three scales.
"""

import torch
from torch import Tensor, nn


class Block(nn.Sequential):
    """A convolution, its norm and an activation."""

    def __init__(
        self,
        width_in: int,
        width: int,
        size: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        act: bool = True,
    ) -> None:
        super().__init__(
            nn.Conv2d(width_in, width, size, stride, size // 2, groups=groups, bias=False),
            nn.BatchNorm2d(width),
            nn.SiLU() if act else nn.Identity(),
        )


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, width: int, share: float = 0.5) -> None:
        super().__init__()
        inner = int(width * share)
        self.first, self.second = Block(width, inner, 3), Block(inner, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))  # type: ignore[no-any-return]


class Stage(nn.Module):
    """Two ways, one of them through residual blocks, joined."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width // 2
        self.left, self.right = Block(width, inner), Block(width, inner)
        self.blocks = nn.Sequential(Residual(inner, 1.0), Residual(inner, 1.0))
        self.join = Block(2 * inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.join(torch.cat((self.blocks(self.left(x)), self.right(x)), 1))  # type: ignore[no-any-return]


class CrossStage(nn.Module):
    """Halves of a chunk, of which the second grows, and all of them joined."""

    def __init__(self, width_in: int, width: int, *, deep: bool, share: float = 0.5) -> None:
        super().__init__()
        inner = int(width * share)
        self.first, self.last = Block(width_in, 2 * inner), Block(3 * inner, width)
        self.inner = Stage(inner) if deep else Residual(inner)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.first(x).chunk(2, 1)
        return self.last(torch.cat((left, right, self.inner(right)), 1))  # type: ignore[no-any-return]


class Pyramid(nn.Module):
    """A map beside three poolings of it, each of the one before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = Block(width, width // 2), Block(2 * width, width)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.first(x)]
        for _ in range(3):
            maps.append(self.pool(maps[-1]))
        return self.last(torch.cat(maps, 1))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Positions look at each other; keys are half as wide as values."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // 64
        self.size = width // self.heads
        self.key = self.size // 2
        self.scale = self.key**-0.5
        self.qkv = Block(width, width + 2 * self.key * self.heads, act=False)
        self.proj = Block(width, width, act=False)
        self.position = Block(width, width, 3, groups=width, act=False)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        maps = self.qkv(x).view(n, self.heads, 2 * self.key + self.size, h * w)
        q, k, v = maps.split([self.key, self.key, self.size], dim=2)
        scores = (q.transpose(-2, -1) @ k * self.scale).softmax(-1)
        found = (v @ scores.transpose(-2, -1)).view(n, c, h, w)
        return self.proj(found + self.position(v.reshape(n, c, h, w)))  # type: ignore[no-any-return]


class Attending(nn.Module):
    """A half of the channels goes through attention and two convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = width // 2
        self.first, self.last = Block(width, width), Block(width, width)
        self.attention = Attention(self.inner)
        self.wide = nn.Sequential(
            Block(self.inner, 2 * self.inner), Block(2 * self.inner, self.inner, act=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.first(x).split((self.inner, self.inner), dim=1)
        right = right + self.attention(right)
        right = right + self.wide(right)
        return self.last(torch.cat((left, right), 1))  # type: ignore[no-any-return]


class Heads(nn.Module):
    """Boxes and classes of one scale."""

    def __init__(self, width: int, classes: int, bins: int = 16) -> None:
        super().__init__()
        inner = max(64, classes)
        self.boxes = nn.Sequential(
            Block(width, 64, 3), Block(64, 64, 3), nn.Conv2d(64, 4 * bins, 1)
        )
        self.classes = nn.Sequential(
            Block(width, width, 3, groups=width),
            Block(width, inner),
            Block(inner, inner, 3, groups=inner),
            Block(inner, inner),
            nn.Conv2d(inner, classes, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.boxes(x), self.classes(x)), 1)


class Yolo(nn.Module):
    """Three maps ``(N, 64 + classes, H / s, W / s)`` for strides of 8, 16 and 32."""

    def __init__(self, classes: int = 80) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            Block(3, 16, 3, 2),
            Block(16, 32, 3, 2),
            CrossStage(32, 64, deep=False, share=0.25),
            Block(64, 64, 3, 2),
            CrossStage(64, 128, deep=False, share=0.25),
        )
        self.middle = nn.Sequential(Block(128, 128, 3, 2), CrossStage(128, 128, deep=True))
        self.deep = nn.Sequential(
            Block(128, 256, 3, 2), CrossStage(256, 256, deep=True), Pyramid(256), Attending(256)
        )
        self.up1, self.up2 = CrossStage(384, 128, deep=False), CrossStage(256, 64, deep=False)
        self.down1, self.out1 = Block(64, 64, 3, 2), CrossStage(192, 128, deep=False)
        self.down2, self.out2 = Block(128, 128, 3, 2), CrossStage(384, 256, deep=True)
        self.grow = nn.Upsample(scale_factor=2, mode="nearest")
        self.heads = nn.ModuleList(Heads(width, classes) for width in (64, 128, 256))

    def forward(self, x: Tensor) -> list[Tensor]:
        shallow = self.stem(x)
        middle = self.middle(shallow)
        deep = self.deep(middle)
        up = self.up1(torch.cat((self.grow(deep), middle), 1))
        first = self.up2(torch.cat((self.grow(up), shallow), 1))
        second = self.out1(torch.cat((self.down1(first), up), 1))
        third = self.out2(torch.cat((self.down2(second), deep), 1))
        return [head(x) for head, x in zip(self.heads, (first, second, third), strict=True)]
