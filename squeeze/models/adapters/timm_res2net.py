"""timm's Res2Net: the split of a block's channels as picks by index.

Source: Gao et al., Res2Net, section 3.1 (https://arxiv.org/abs/1904.01169).
"""

from typing import TYPE_CHECKING

import torch  # noqa: TID253  (imported only where a model is)
from torch import nn  # noqa: TID253

from squeeze.models.adapters.base import Blocks, Foreign, is_a, replace_
from squeeze.models.adapters.layers.select import Select

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = "timm.models.res2net.Bottle2neck"


class Scales(nn.Module):
    """The middle of a block: every part but the last is convolved, after adding the one before.

    Args:
        block: The block whose convolutions it takes over.
    """

    def __init__(self, block: Foreign) -> None:
        super().__init__()
        width, count = block.width, block.scale
        self.parts = nn.ModuleList(
            Select(range(i * width, (i + 1) * width), width * count) for i in range(count)
        )
        self.convs, self.bns, self.relu = block.convs, block.bns, block.relu
        self.pool = block.pool or nn.Identity()
        self.is_first = block.is_first
        self.scale = block.scale

    def forward(self, x: "Tensor") -> "Tensor":
        """Return all parts, ``(N, C, H, W) -> (N, C, H/s, W/s)``."""
        parts = [part(x) for part in self.parts]
        found: list[Tensor] = []
        for i, (conv, norm) in enumerate(zip(self.convs, self.bns, strict=True)):
            added = parts[i] if i == 0 or self.is_first else found[-1] + parts[i]
            found.append(self.relu(norm(conv(added))))
        if self.scale > 1:
            found.append(self.pool(parts[-1]))
        return torch.cat(found, dim=1)


class Res2NetBlock(nn.Module):
    """A bottleneck block, ``(N, C_in, H, W) -> (N, C_out, H/s, W/s)``."""

    def __init__(self, block: Foreign) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu = block.conv1, block.bn1, block.relu
        self.scales = Scales(block)
        self.drop_block = block.drop_block
        self.conv3, self.bn3 = block.conv3, block.bn3
        self.se = block.se or nn.Identity()
        self.drop_path = block.drop_path or nn.Identity()
        self.downsample = block.downsample or nn.Identity()

    def forward(self, x: "Tensor") -> "Tensor":
        """Return the block's output."""
        out = self.scales(self.relu(self.bn1(self.conv1(x))))
        out = self.se(self.bn3(self.conv3(self.drop_block(out))))
        return self.relu(self.drop_path(out) + self.downsample(x))  # type: ignore[no-any-return]


def adapt_(module: nn.Module) -> int:
    """Replace every block."""
    return replace_(module, lambda layer: is_a(layer, _BLOCK), Res2NetBlock)


def blocks(module: nn.Module) -> dict[nn.Module, Blocks]:
    """Keep the parts of a block equally wide: one that lost all its channels could not be run."""
    return {
        layer.conv1: Blocks(layer.scales.scale, layer.conv1.out_channels // layer.scales.scale)
        for layer in module.modules()
        if isinstance(layer, Res2NetBlock)
    }
