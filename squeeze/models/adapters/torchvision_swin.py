"""torchvision's Swin: shifted-window attention with layers of its own, and patch merging.

Source: Liu et al., Swin Transformer, section 3.2 (https://arxiv.org/abs/2103.14030).
"""

from typing import TYPE_CHECKING

import torch  # noqa: TID253  (imported only where a model is)
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

from squeeze.models.adapters.base import Foreign, is_a, replace_
from squeeze.models.adapters.layers.attention import Attention, Heads, PositionBias, split_linear
from squeeze.models.adapters.layers.select import Select

if TYPE_CHECKING:
    from torch import Tensor

_MODULE = "torchvision.models.swin_transformer"


class WindowAttention(nn.Module):
    """Attention inside windows that may be shifted, ``(N, H, W, C) -> (N, H, W, C)``.

    Attributes:
        attention: On tokens ``(N, windows, tokens, C)``.
        window: Height and width of a window.
        shift: By how much windows are shifted.
        dropout: Probability of dropping an output in training.
    """

    def __init__(
        self, attention: Attention, window: list[int], shift: list[int], dropout: float
    ) -> None:
        super().__init__()
        self.attention = attention
        self.window = list(window)
        self.shift = list(shift)
        self.dropout = dropout

    def forward(self, x: "Tensor") -> "Tensor":
        """Return what the windows saw."""
        height, width = x.shape[1:3]
        below, right = (-height % self.window[0], -width % self.window[1])
        x = functional.pad(x, (0, 0, 0, right, 0, below))
        size = (height + below, width + right)
        # a window that covers the whole side has nowhere to go
        shift = [
            0 if window >= side else shift
            for window, side, shift in zip(self.window, size, self.shift, strict=True)
        ]
        moved = any(shift)
        if moved:
            x = torch.roll(x, (-shift[0], -shift[1]), (1, 2))
        tokens = _windows(x, self.window)
        mask = self._mask(size, shift, x) if moved else None
        found = self.attention.attend(tokens, tokens, tokens, mask)
        found = functional.dropout(found, self.dropout, self.training)
        x = _image(found, self.window, size)
        if moved:
            x = torch.roll(x, (shift[0], shift[1]), (1, 2))
        return x.narrow(1, 0, height).narrow(2, 0, width)

    def _mask(self, size: tuple[int, int], shift: list[int], like: "Tensor") -> "Tensor":
        """Return ``(windows, 1, tokens, tokens)``: -100 between tokens that were no neighbours."""
        rows, columns = (
            sum(
                (torch.arange(side, device=like.device) >= edge).to(like.dtype)
                for edge in (side - window, side - moved)
                if moved
            )
            for side, window, moved in zip(size, self.window, shift, strict=True)
        )
        region = torch.zeros(size, device=like.device, dtype=like.dtype) + columns
        region = region + 3 * torch.as_tensor(rows).unsqueeze(-1)
        region = region.unsqueeze(0).unsqueeze(-1)
        region = _windows(region, self.window).squeeze(0).squeeze(-1)
        apart = region.unsqueeze(1) != region.unsqueeze(2)
        return (apart.to(like.dtype) * -100.0).unsqueeze(1)


class Merging(nn.Module):
    """Four neighbours side by side and projected, ``(N, H, W, C) -> (N, H/2, W/2, C')``.

    The four are joined along dimension 1, where Torch-Pruning follows channels. A pick of all
    channels in front tells it their number, which it would search through the whole network else.
    """

    def __init__(
        self, width: int, norm: nn.Module, reduction: nn.Module, *, norm_first: bool
    ) -> None:
        super().__init__()
        self.all = Select(range(width), width)
        self.norm = norm
        self.reduction = reduction
        self.norm_first = norm_first

    def forward(self, x: "Tensor") -> "Tensor":
        """Return the merged patches."""
        height, width = x.shape[1:3]
        x = functional.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        x = self.all(x.permute(0, 3, 1, 2))
        corners = [x[:, :, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        x = torch.cat(corners, dim=1).permute(0, 2, 3, 1)
        if self.norm_first:
            return self.reduction(self.norm(x))  # type: ignore[no-any-return]
        return self.norm(self.reduction(x))  # type: ignore[no-any-return]


def adapt_(module: nn.Module) -> int:
    """Replace window attention (of the first Swin) and patch merging (of both)."""
    attention = replace_(
        module, lambda layer: is_a(layer, f"{_MODULE}.ShiftedWindowAttention"), _attention
    )
    merging = (f"{_MODULE}.PatchMerging", f"{_MODULE}.PatchMergingV2")
    return attention + replace_(module, lambda layer: is_a(layer, *merging), _merging)


def _attention(layer: Foreign) -> WindowAttention:
    q, k, v = split_linear(layer.qkv.weight, layer.qkv.bias, 3)
    size = q.out_features // layer.num_heads
    attention = Attention(
        q,
        k,
        v,
        layer.proj,
        heads=Heads(layer.num_heads, size),
        scale=size**-0.5,
        bias=PositionBias(layer.relative_position_bias_table, layer.relative_position_index, size),
        dropout=layer.attention_dropout,
    )
    return WindowAttention(attention, layer.window_size, layer.shift_size, layer.dropout)


def _merging(layer: Foreign) -> Merging:
    norm_first = is_a(layer, f"{_MODULE}.PatchMerging")
    return Merging(layer.dim, layer.norm, layer.reduction, norm_first=norm_first)


def _windows(x: "Tensor", window: list[int]) -> "Tensor":
    """Cut ``(N, H, W, C)`` into ``(N, windows, tokens, C)``."""
    height, width = window
    rows, columns = x.shape[1] // height, x.shape[2] // width
    x = torch.unflatten(torch.unflatten(x, 2, (columns, width)), 1, (rows, height))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _image(x: "Tensor", window: list[int], size: tuple[int, int]) -> "Tensor":
    """Put windows back together: the inverse of ``_windows``."""
    height, width = window
    rows, columns = size[0] // height, size[1] // width
    x = torch.unflatten(torch.unflatten(x, 2, (height, width)), 1, (rows, columns))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)
