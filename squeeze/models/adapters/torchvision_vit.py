"""torchvision's vision transformers: attention with layers of its own, ``hidden_dim`` by width."""

from typing import TYPE_CHECKING

from torch import nn  # noqa: TID253  (imported only where a model is)

from squeeze.models.adapters.base import Foreign, is_a, replace_
from squeeze.models.adapters.layers.attention import Attention, Heads, split_linear

if TYPE_CHECKING:
    from torch import Tensor

_MODULE = "torchvision.models.vision_transformer"


class EncoderAttention(Attention):
    """Called like ``nn.MultiheadAttention`` in torchvision's encoder block."""

    def forward(  # type: ignore[override]
        self,
        query: "Tensor",
        key: "Tensor",
        value: "Tensor",
        need_weights: bool = False,  # noqa: FBT001, FBT002  (the signature of what it replaces)
    ) -> "tuple[Tensor, None]":
        """Return ``(N, L, C)`` and no weights."""
        del need_weights
        return self.attend(query, key, value), None


def adapt_(module: nn.Module) -> int:
    """Replace the attention of every encoder block."""
    wanted = {
        block.self_attention for block in module.modules() if is_a(block, f"{_MODULE}.EncoderBlock")
    }
    return replace_(module, lambda layer: layer in wanted and _plain(layer), _rewritten)


def resize_(module: nn.Module) -> None:
    """Tell the model the width of its tokens, to which it reshapes the patches."""
    for layer in module.modules():
        if is_a(layer, f"{_MODULE}.VisionTransformer"):
            _set_hidden_dim_(layer)


def _set_hidden_dim_(layer: Foreign) -> None:
    patches = [part for part in layer.conv_proj.modules() if isinstance(part, nn.Conv2d)]
    layer.hidden_dim = patches[-1].out_channels


def _plain(layer: Foreign) -> bool:
    return isinstance(layer, nn.MultiheadAttention) and layer.in_proj_weight is not None


def _rewritten(layer: Foreign) -> EncoderAttention:
    q, k, v = split_linear(layer.in_proj_weight, layer.in_proj_bias, 3)
    (out,) = split_linear(layer.out_proj.weight, layer.out_proj.bias, 1)
    size = layer.embed_dim // layer.num_heads
    return EncoderAttention(
        q,
        k,
        v,
        out,
        heads=Heads(layer.num_heads, size),
        scale=size**-0.5,
        dropout=layer.dropout,
    )
