"""A small detector that trains in minutes and survives pruning and int8.

MobileNetV2's features, a top-down pyramid by sums, and at strides 8, 16 and 32 a head of its own
with two towers of depthwise-separable convolutions. Everything is a convolution with its own batch
norm, a ReLU6, a sum or a nearest-neighbour resize: no layer is shared between levels, so that batch
norms fold and widths may differ.

Source: Sandler et al., MobileNetV2 (https://arxiv.org/abs/1801.04381); Lin et al., Feature Pyramid
Networks (https://arxiv.org/abs/1612.03144); the anchor-free head follows Tian et al., FCOS
(https://arxiv.org/abs/2006.09214), without centerness.
"""

import math
from typing import TYPE_CHECKING

import torch  # noqa: TID253  (a model's file is imported only to build the model)
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

from squeeze.core.detector import DetectorSpec, Level

if TYPE_CHECKING:
    from torch import Tensor

STRIDES = (8, 16, 32)
_TAPS = (6, 13, 16)
"""MobileNetV2's last blocks at these strides."""
_PRIOR = 0.01
"""Probability of every class at the start: most places hold nothing (Lin et al., RetinaNet)."""


def tinydet(
    num_classes: int, width_mult: float = 1.0, channels: int = 64, max_detections: int = 100
) -> "TinyDet":
    """Build the detector.

    Args:
        num_classes: Classes of objects, without a background.
        width_mult: Of the backbone; 1.0 fits torchvision's ImageNet weights.
        channels: Width of pyramid and heads.
        max_detections: Kept per image.
    """
    from torchvision.models import mobilenet_v2

    features = mobilenet_v2(weights=None, width_mult=width_mult).features[: _TAPS[-1] + 1]
    spec = DetectorSpec(
        "anchor_free",
        num_classes,
        tuple(Level(float(stride), ((float(stride), float(stride)),)) for stride in STRIDES),
        distances="exp",
        assignment="task_aligned",
        score_threshold=0.01,
        nms_iou=0.6,
        candidates=400,
        max_detections=max_detections,
    )
    return TinyDet(features, channels, spec)


class Features(nn.Module):
    """MobileNetV2 up to stride 32; its parameters keep torchvision's names."""

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        self.features = features

    def forward(self, images: "Tensor") -> "list[Tensor]":
        """Return the maps at strides 8, 16 and 32 of ``(N, 3, H, W)``, finest first."""
        maps, found = images, []
        for number, block in enumerate(self.features):
            maps = block(maps)
            if number in _TAPS:
                found.append(maps)
        return found


class Pyramid(nn.Module):
    """Gives every map the same width and adds to it what the next coarser one knows."""

    def __init__(self, widths: list[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(_pointwise(width, channels) for width in widths)
        self.smooth = nn.ModuleList(_separable(channels, channels) for _ in widths)

    def forward(self, maps: "list[Tensor]") -> "list[Tensor]":
        """Return maps ``(N, channels, H/s, W/s)``, finest first."""
        narrow = [layer(one) for layer, one in zip(self.lateral, maps, strict=True)]
        joined = narrow[-1:]
        for finer in reversed(narrow[:-1]):
            coarse = functional.interpolate(joined[0], size=finer.shape[-2:], mode="nearest")
            joined.insert(0, finer + coarse)
        return [layer(one) for layer, one in zip(self.smooth, joined, strict=True)]


class Head(nn.Module):
    """Predicts classes and distances to a box's sides at every cell of one level."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.cls_tower = _separable(channels, channels)
        self.box_tower = _separable(channels, channels)
        self.cls_logits = nn.Conv2d(channels, classes, 1)
        self.bbox_reg = nn.Conv2d(channels, 4, 1)
        for layer in (self.cls_logits, self.bbox_reg):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.cls_logits.bias, -math.log((1 - _PRIOR) / _PRIOR))  # type: ignore[arg-type]

    def forward(self, maps: "Tensor") -> "tuple[Tensor, Tensor]":
        """Return class logits ``(N, H*W, K)`` and log distances ``(N, H*W, 4)``."""
        logits = self.cls_logits(self.cls_tower(maps))
        distances = self.bbox_reg(self.box_tower(maps))
        return _by_place(logits), _by_place(distances)


class TinyDet(nn.Module):
    """Backbone, pyramid and one head per level, ``(N, 3, H, W)`` to raw outputs.

    Attributes:
        detector: How the outputs are read.
    """

    def __init__(self, features: nn.Sequential, channels: int, detector: DetectorSpec) -> None:
        super().__init__()
        self.backbone = Features(features)
        self.neck = Pyramid([_width(features[tap]) for tap in _TAPS], channels)
        self.heads = nn.ModuleList(Head(channels, detector.classes) for _ in STRIDES)
        self.detector = detector

    def forward(self, images: "Tensor") -> "tuple[Tensor, Tensor]":
        """Return class logits ``(N, A, K)`` and box regression ``(N, A, 4)``."""
        maps = self.neck(self.backbone(images))
        found = [head(one) for head, one in zip(self.heads, maps, strict=True)]
        logits = torch.cat([logits for logits, _ in found], dim=1)
        return logits, torch.cat([distances for _, distances in found], dim=1)


def _by_place(maps: "Tensor") -> "Tensor":
    """Return ``(N, H*W, C)`` of ``(N, C, H, W)``, row by row."""
    return maps.permute(0, 2, 3, 1).flatten(1, 2)


def _width(block: nn.Module) -> int:
    return int(block.out_channels)  # type: ignore[arg-type]


def _pointwise(channels_in: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU6()
    )


def _separable(channels_in: int, channels: int) -> nn.Sequential:
    depthwise = (
        nn.Conv2d(channels_in, channels_in, 3, padding=1, groups=channels_in, bias=False),
        nn.BatchNorm2d(channels_in),
        nn.ReLU6(),
    )
    return nn.Sequential(*depthwise, *_pointwise(channels_in, channels))
