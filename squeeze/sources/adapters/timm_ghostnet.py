"""timm's GhostNet: the slice that cuts a ghost module's output to its width, as a pick by index.

Source: Han et al., GhostNet, section 3.1 (https://arxiv.org/abs/1911.11907).
"""

from typing import TYPE_CHECKING

import torch  # noqa: TID253  (imported only where a model is)
from torch import nn  # noqa: TID253

from squeeze.sources.adapters.base import Foreign, is_a, replace_
from squeeze.sources.adapters.layers.select import Select

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = "timm.models.ghostnet.GhostModule"


class Ghost(nn.Module):
    """Some channels by a convolution, the others cheaply from those."""

    def __init__(self, primary: nn.Module, cheap: nn.Module, cut: Select | None) -> None:
        super().__init__()
        self.primary_conv = primary
        self.cheap_operation = cheap
        self.cut = cut

    def forward(self, x: "Tensor") -> "Tensor":
        """Return ``(N, C_out, H, W)``."""
        first = self.primary_conv(x)
        both = torch.cat((first, self.cheap_operation(first)), dim=1)
        return both if self.cut is None else self.cut(both)


def adapt_(module: nn.Module) -> int:
    """Replace every ghost module."""
    return replace_(module, lambda layer: is_a(layer, _BLOCK), _rewritten)


def _rewritten(layer: Foreign) -> Ghost:
    width = layer.primary_conv[0].out_channels + layer.cheap_operation[0].out_channels
    cut = None if width == layer.out_chs else Select(range(layer.out_chs), width)
    return Ghost(layer.primary_conv, layer.cheap_operation, cut)
