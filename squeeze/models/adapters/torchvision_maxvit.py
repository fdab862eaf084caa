"""torchvision's MaxViT: attention over windows and grids with layers of its own."""

from torch import nn  # noqa: TID253  (imported only where a model is)

from squeeze.models.adapters.base import Foreign, is_a, replace_
from squeeze.models.adapters.layers.attention import Attention, Heads, PositionBias, split_linear

_ATTENTION = "torchvision.models.maxvit.RelativePositionalMultiHeadAttention"


def adapt_(module: nn.Module) -> int:
    """Replace every relative attention."""
    return replace_(module, lambda layer: is_a(layer, _ATTENTION), _rewritten)


def _rewritten(layer: Foreign) -> Attention:
    q, k, v = split_linear(layer.to_qkv.weight, layer.to_qkv.bias, 3)
    return Attention(
        q,
        k,
        v,
        layer.merge,
        heads=Heads(layer.n_heads, layer.head_dim),
        scale=layer.scale_factor,
        bias=PositionBias(
            layer.relative_position_bias_table, layer.relative_position_index, layer.head_dim
        ),
    )
