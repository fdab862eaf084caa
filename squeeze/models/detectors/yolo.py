"""YOLOv3 and YOLOv3-tiny up to their raw outputs.

Convolutions are made in the order of Darknet's configuration files, so that its weights fit; see
``squeeze.models.darknet``.

Source: Redmon and Farhadi, YOLOv3: An Incremental Improvement (https://arxiv.org/abs/1804.02767).
"""

from itertools import pairwise
from typing import TYPE_CHECKING

import torch  # noqa: TID253  (a model's file is imported only to build the model)
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

from squeeze.core.detector import DetectorSpec, Level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_SLOPE = 0.1
_EPSILON = 1e-6
_ANCHORS = (
    ((116.0, 90.0), (156.0, 198.0), (373.0, 326.0)),
    ((30.0, 61.0), (62.0, 45.0), (59.0, 119.0)),
    ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)),
)
_ANCHORS_TINY = (
    ((81.0, 82.0), (135.0, 169.0), (344.0, 319.0)),
    ((10.0, 14.0), (23.0, 27.0), (37.0, 58.0)),
)
_STAGES = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))
"""Darknet-53: width and number of residual blocks, each stage at half the size."""


def yolov3_tiny(num_classes: int = 80) -> "YoloV3Tiny":
    """Build YOLOv3-tiny.

    Args:
        num_classes: Classes of objects, without a background.
    """
    return YoloV3Tiny(_spec(num_classes, _ANCHORS_TINY))


def yolov3(num_classes: int = 80) -> "YoloV3":
    """Build YOLOv3 on Darknet-53.

    Args:
        num_classes: Classes of objects, without a background.
    """
    return YoloV3(_spec(num_classes, _ANCHORS))


class YoloV3Tiny(nn.Module):
    """Strides 32 and 16, ``(N, 3, H, W)`` to raw outputs; H and W are multiples of 32.

    Attributes:
        detector: How the outputs are read.
    """

    def __init__(self, detector: DetectorSpec) -> None:
        super().__init__()
        widths = (3, 16, 32, 64, 128, 256)
        fine: list[nn.Module] = []
        for before, after in pairwise(widths):
            fine += [nn.MaxPool2d(2)] if fine else []
            fine += [_conv(before, after, 3)]
        self.fine = nn.Sequential(*fine)
        self.halve = nn.MaxPool2d(2)
        self.widen = _conv(256, 512, 3)
        self.neighbours = nn.MaxPool2d(2, stride=1, padding=1)
        self.coarse = nn.Sequential(_conv(512, 1024, 3), _conv(1024, 256, 1))
        outputs = _outputs(detector)
        self.coarse_head = nn.Sequential(_conv(256, 512, 3), nn.Conv2d(512, outputs, 1))
        self.lateral = _conv(256, 128, 1)
        self.fine_head = nn.Sequential(_conv(128 + 256, 256, 3), nn.Conv2d(256, outputs, 1))
        self.detector = detector

    def forward(self, images: "Tensor") -> "tuple[Tensor, Tensor, Tensor]":
        """Return class logits, box regression and objectness, stride 32 first."""
        fine = self.fine(images)
        # Darknet pads on the right and below only: each cell looks at itself and those after it
        wide = self.neighbours(self.widen(self.halve(fine)))[:, :, 1:, 1:]
        coarse = self.coarse(wide)
        doubled = functional.interpolate(self.lateral(coarse), scale_factor=2.0, mode="nearest")
        joined = torch.cat([doubled, fine], dim=1)
        return _raw([self.coarse_head(coarse), self.fine_head(joined)], self.detector)


class Residual(nn.Module):
    """A 1x1 and a 3x3 convolution beside a shortcut, ``(N, C, H, W)`` to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = _conv(channels, channels // 2, 1)
        self.widen = _conv(channels // 2, channels, 3)

    def forward(self, maps: "Tensor") -> "Tensor":
        """Return the sum."""
        return maps + self.widen(self.narrow(maps))  # type: ignore[no-any-return]


class Branch(nn.Module):
    """What follows the features of one stride: five convolutions, then the head."""

    def __init__(self, channels_in: int, channels: int, outputs: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.mix = nn.Sequential(
            _conv(channels_in, channels, 1),
            _conv(channels, wide, 3),
            _conv(wide, channels, 1),
            _conv(channels, wide, 3),
            _conv(wide, channels, 1),
        )
        self.head = nn.Sequential(_conv(channels, wide, 3), nn.Conv2d(wide, outputs, 1))


class YoloV3(nn.Module):
    """Strides 32, 16 and 8, ``(N, 3, H, W)`` to raw outputs; H and W are multiples of 32.

    Attributes:
        detector: How the outputs are read.
    """

    def __init__(self, detector: DetectorSpec) -> None:
        super().__init__()
        self.stem = _conv(3, 32, 3)
        stages, before = [], 32
        for width, blocks in _STAGES:
            residuals = [Residual(width) for _ in range(blocks)]
            stages.append(nn.Sequential(_conv(before, width, 3, stride=2), *residuals))
            before = width
        self.stages = nn.ModuleList(stages)
        outputs = _outputs(detector)
        self.branch_32 = Branch(1024, 512, outputs)
        self.lateral_16 = _conv(512, 256, 1)
        self.branch_16 = Branch(256 + 512, 256, outputs)
        self.lateral_8 = _conv(256, 128, 1)
        self.branch_8 = Branch(128 + 256, 128, outputs)
        self.detector = detector

    def forward(self, images: "Tensor") -> "tuple[Tensor, Tensor, Tensor]":
        """Return class logits, box regression and objectness, stride 32 first."""
        maps, features = self.stem(images), []
        for stage in self.stages:
            maps = stage(maps)
            features.append(maps)
        mixed = self.branch_32.mix(maps)
        found = [self.branch_32.head(mixed)]
        steps = ((self.lateral_16, self.branch_16), (self.lateral_8, self.branch_8))
        for (lateral, branch), finer in zip(steps, (features[3], features[2]), strict=True):
            doubled = functional.interpolate(lateral(mixed), scale_factor=2.0, mode="nearest")
            mixed = branch.mix(torch.cat([doubled, finer], dim=1))
            found.append(branch.head(mixed))
        return _raw(found, self.detector)


def _spec(classes: int, anchors: "Sequence[tuple[tuple[float, float], ...]]") -> DetectorSpec:
    levels = tuple(Level(32.0 / 2**number, own) for number, own in enumerate(anchors))
    return DetectorSpec(
        "anchor_grid",
        classes,
        levels,
        quality=True,
        distances="exp",
        score_threshold=0.005,
        nms_iou=0.45,
    )


def _outputs(detector: DetectorSpec) -> int:
    return len(detector.levels[0].anchors) * (5 + detector.classes)


def _raw(maps: "Sequence[Tensor]", detector: DetectorSpec) -> "tuple[Tensor, Tensor, Tensor]":
    """Take apart x, y, w, h, objectness and classes of every anchor of every cell."""
    width, found = 5 + detector.classes, []
    for one in maps:
        by_cell = one.permute(0, 2, 3, 1)
        found.append(by_cell.reshape(one.shape[0], -1, width))
    together = torch.cat(found, dim=1)
    return together[..., 5:], together[..., :4], together[..., 4:5]


def _conv(channels_in: int, channels: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(channels, eps=_EPSILON),
        nn.LeakyReLU(_SLOPE),
    )
