"""timm's plain attention, as in its vision transformers and in FastViT's last stage.

Variants with norms or gates on heads stay as they are: their tensors are not tied to channels.
"""

from typing import TYPE_CHECKING

import torch  # noqa: TID253  (imported only where a model is)
from torch import nn  # noqa: TID253

from squeeze.models.adapters.base import Foreign, is_a, replace_
from squeeze.models.adapters.layers.attention import Attention, Heads, split_linear

if TYPE_CHECKING:
    from torch import Tensor

_TOKENS = ("timm.layers.attention.Attention",)
_IMAGES = ("timm.models.fastvit.Attention",)


class TokenAttention(Attention):
    """Called like timm's: ``(N, L, C) -> (N, L, C)``."""

    def forward(
        self,
        x: "Tensor",
        attn_mask: "Tensor | None" = None,
        is_causal: bool = False,  # noqa: FBT001, FBT002  (the signature of what it replaces)
    ) -> "Tensor":
        """Return tokens that have looked at each other."""
        return self.attend(x, x, x, attn_mask, is_causal=is_causal)


class ImageAttention(Attention):
    """Called with images: ``(N, C, H, W) -> (N, C, H, W)``."""

    def forward(self, x: "Tensor") -> "Tensor":
        """Return pixels that have looked at each other."""
        tokens = x.flatten(2).transpose(1, 2)
        found = self.attend(tokens, tokens, tokens).transpose(1, 2)
        return torch.unflatten(found, 2, x.shape[2:])


def adapt_(module: nn.Module) -> int:
    """Replace every plain attention."""
    return replace_(module, _plain, _rewritten)


def _plain(layer: Foreign) -> bool:
    if is_a(layer, *_IMAGES):
        return True
    parts = (getattr(layer, name, None) for name in ("q_norm", "k_norm", "norm", "gate"))
    return is_a(layer, *_TOKENS) and all(
        part is None or isinstance(part, nn.Identity) for part in parts
    )


def _rewritten(layer: Foreign) -> nn.Module:
    q, k, v = split_linear(layer.qkv.weight, layer.qkv.bias, 3)
    kind = ImageAttention if is_a(layer, *_IMAGES) else TokenAttention
    attention = kind(
        q,
        k,
        v,
        layer.proj,
        heads=Heads(layer.num_heads, layer.head_dim),
        scale=layer.scale,
        dropout=layer.attn_drop.p,
    )
    return attention if layer.proj_drop.p == 0 else nn.Sequential(attention, layer.proj_drop)
