"""torchvision's ShuffleNetV2: channel shuffle and chunk as two picks by index.

A shuffle with two groups interleaves the halves of a tensor; the next block's chunk takes its
first and second half. Source: Ma et al., ShuffleNet V2, section 3.2
(https://arxiv.org/abs/1807.11164).
"""

from typing import TYPE_CHECKING

import torch  # noqa: TID253  (imported only where a model is)
from torch import nn  # noqa: TID253

from squeeze.models.adapters.base import Blocks, Foreign, is_a, replace_
from squeeze.models.adapters.layers.select import Select

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = "torchvision.models.shufflenetv2.InvertedResidual"


class ShuffleBlock(nn.Module):
    """A unit of ShuffleNetV2, ``(N, C_in, H, W) -> (N, C_out, H/s, W/s)``."""

    def __init__(
        self, branch1: nn.Sequential, branch2: nn.Sequential, width_in: int, width: int
    ) -> None:
        super().__init__()
        self.branch1 = branch1
        self.branch2 = branch2
        half = width_in // 2
        self.splits = len(branch1) == 0
        if self.splits:
            self.first = Select(range(half), width_in)
            self.second = Select(range(half, width_in), width_in)
        self.shuffle = Select([i + j for i in range(width // 2) for j in (0, width // 2)], width)

    def forward(self, x: "Tensor") -> "Tensor":
        """Return both branches' channels, interleaved."""
        if self.splits:
            found = (self.first(x), self.branch2(self.second(x)))
        else:
            found = (self.branch1(x), self.branch2(x))
        return self.shuffle(torch.cat(found, dim=1))  # type: ignore[no-any-return]


def adapt_(module: nn.Module) -> int:
    """Replace every unit."""
    return replace_(module, lambda layer: is_a(layer, _BLOCK), _rewritten)


def _rewritten(layer: Foreign) -> ShuffleBlock:
    half = layer.branch2[-3].out_channels
    width_in = 2 * half if layer.stride == 1 else layer.branch2[0].in_channels
    return ShuffleBlock(layer.branch1, layer.branch2, width_in, 2 * half)


def blocks(module: nn.Module) -> dict[nn.Module, Blocks]:
    """Cut both halves of what a branch makes alike.

    After the shuffle the first half goes to the next unit's shortcut and the second one to its
    convolutions. Those in the shortcut go on through more layers and score higher for it, so that
    the convolutions would be left without input.
    """
    found: dict[nn.Module, Blocks] = {}
    for unit in module.modules():
        if isinstance(unit, ShuffleBlock):
            branches = [unit.branch2] if unit.splits else [unit.branch1, unit.branch2]
            lasts: list[Foreign] = [branch[-3] for branch in branches]
            found |= {
                last: Blocks(2, last.out_channels // 2)
                for last in lasts
                if last.out_channels % 2 == 0
            }
    return found
