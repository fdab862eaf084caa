"""timm's split attention (ResNeSt): the radix's parts as picks by index.

Source: Zhang et al., ResNeSt, section 3.1 (https://arxiv.org/abs/2004.08955).
"""

from typing import TYPE_CHECKING

import torch  # noqa: TID253  (imported only where a model is)
from torch import nn  # noqa: TID253

from squeeze.models.adapters.base import Foreign, is_a, replace_
from squeeze.models.adapters.layers.select import Select

if TYPE_CHECKING:
    from torch import Tensor

_LAYER = "timm.layers.split_attn.SplitAttn"


class SplitAttention(nn.Module):
    """Parts of a convolution weighted against each other, ``(N, C_in, H, W) -> (N, C, H/s, W/s)``.

    Args:
        layer: The layer whose convolutions it takes over; its radix is above 1.
    """

    def __init__(self, layer: Foreign) -> None:
        super().__init__()
        self.conv = nn.Sequential(layer.conv, layer.bn0, layer.drop, layer.act0)
        self.weigh = nn.Sequential(layer.fc1, layer.bn1, layer.act1, layer.fc2)
        radix, cardinality = layer.radix, layer.rsoftmax.cardinality
        total = layer.conv.out_channels
        width = total // radix
        size = width // cardinality
        self.parts = nn.ModuleList(
            Select(range(part * width, (part + 1) * width), total) for part in range(radix)
        )
        # the weights come cardinality by cardinality, and in each part by part
        self.weights = nn.ModuleList(
            Select(
                [(k * radix + part) * size + i for k in range(cardinality) for i in range(size)],
                total,
            )
            for part in range(radix)
        )

    def forward(self, x: "Tensor") -> "Tensor":
        """Return the weighted sum of the parts."""
        x = self.conv(x)
        parts: list[Tensor] = [part(x) for part in self.parts]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        found = self.weigh(total.mean((2, 3), keepdim=True))
        # along dimension 1: Torch-Pruning takes an unbind along 0 for a split of channels
        weights = torch.stack([weight(found) for weight in self.weights], 1).softmax(1).unbind(1)
        out = parts[0] * weights[0]
        for part, weight in zip(parts[1:], weights[1:], strict=True):
            out = out + part * weight
        return out


def adapt_(module: nn.Module) -> int:
    """Replace every split attention that has more than one part."""
    return replace_(module, lambda layer: is_a(layer, _LAYER) and _splits(layer), SplitAttention)


def _splits(layer: Foreign) -> bool:
    return bool(layer.radix > 1)
