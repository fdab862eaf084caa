"""Depthwise convolutions that make several channels of each: repeat first, then one to one.

Torch-Pruning knows grouped convolutions as equal groups and depthwise ones as one channel to one;
``groups == in_channels < out_channels`` is neither. Repeating every input channel ``m`` times in
front of an ordinary depthwise convolution computes the same.
"""

from torch import nn  # noqa: TID253  (imported only where a model is)

from squeeze.models.adapters.base import replace_
from squeeze.models.adapters.layers.select import Select


class RepeatedDepthwise(nn.Sequential):
    """A ``Select`` that repeats channels and a depthwise convolution."""


def adapt_(module: nn.Module) -> int:
    """Replace every depthwise convolution with a multiplier."""
    return replace_(module, _multiplies, _rewritten)


def _multiplies(layer: nn.Module) -> bool:
    return type(layer) is nn.Conv2d and 1 < layer.groups == layer.in_channels < layer.out_channels


def _rewritten(layer: nn.Conv2d) -> RepeatedDepthwise:
    width_in, width = layer.in_channels, layer.out_channels
    repeat = Select([i // (width // width_in) for i in range(width)], width_in)
    # the weight (out, 1, kh, kw) is that of a depthwise convolution already
    layer.in_channels = layer.groups = width
    return RepeatedDepthwise(repeat, layer)
