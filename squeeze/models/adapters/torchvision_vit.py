"""torchvision's vision transformers: attention whose queries, keys and values are layers.

``nn.MultiheadAttention`` holds them in one parameter as wide as its input, so that no channel
inside a head can go. Source of the operation: Vaswani et al., Attention Is All You Need, section
3.2 (https://arxiv.org/abs/1706.03762).
"""

from typing import TYPE_CHECKING

import torch  # noqa: TID253  (imported only where a model is)
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

from squeeze.models.adapters.base import Foreign, is_a, replace_

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = "torchvision.models.vision_transformer.EncoderBlock"


class EncoderAttention(nn.Module):
    """Called like ``nn.MultiheadAttention`` in torchvision's encoder block.

    Args:
        q: Queries, ``C -> heads * size``.
        k: Keys.
        v: Values.
        out: ``heads * size -> C``.
        heads: How many.
        dropout: Probability of dropping a weight in training.
    """

    def __init__(
        self,
        q: nn.Linear,
        k: nn.Linear,
        v: nn.Linear,
        out: nn.Linear,
        *,
        heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = q, k, v, out
        self.heads = heads
        self.size = q.out_features // heads
        self.dropout = dropout

    def forward(
        self,
        query: "Tensor",
        key: "Tensor",
        value: "Tensor",
        need_weights: bool = False,  # noqa: FBT001, FBT002  (the signature of what it replaces)
    ) -> "tuple[Tensor, None]":
        """Return ``(N, L, C)`` and no weights."""
        del need_weights
        q, k, v = (self._split(x) for x in (self.q(query), self.k(key), self.v(value)))
        dropout = self.dropout if self.training else 0.0
        found = functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        return self.out(found.transpose(-3, -2).flatten(-2)), None

    def _split(self, x: "Tensor") -> "Tensor":
        """Return ``(N, L, heads * size)`` as ``(N, heads, L, size)``."""
        return torch.unflatten(x, -1, (self.heads, self.size)).transpose(-3, -2)


def adapt_(module: nn.Module) -> int:
    """Replace the attention of every encoder block."""
    wanted = {block.self_attention for block in module.modules() if is_a(block, _BLOCK)}
    return replace_(module, lambda layer: layer in wanted and _is_plain(layer), _rewritten)


def _is_plain(layer: Foreign) -> bool:
    return isinstance(layer, nn.MultiheadAttention) and layer.in_proj_weight is not None


def _rewritten(layer: Foreign) -> EncoderAttention:
    q, k, v = _split_linear(layer.in_proj_weight, layer.in_proj_bias, 3)
    (out,) = _split_linear(layer.out_proj.weight, layer.out_proj.bias, 1)
    return EncoderAttention(q, k, v, out, heads=layer.num_heads, dropout=layer.dropout)


def _split_linear(weight: nn.Parameter, bias: nn.Parameter | None, parts: int) -> list[nn.Linear]:
    """Return layers that each compute an equal part of the outputs of one.

    Args:
        weight: ``(out, in)``; copied.
        bias: ``(out,)``, or None; copied.
        parts: How many layers; ``out`` is a multiple of it.
    """
    width, width_in = weight.shape
    made = []
    for part in range(parts):
        own = slice(part * width // parts, (part + 1) * width // parts)
        layer = nn.Linear(width_in, width // parts, bias=bias is not None)
        layer.weight = _copy(weight, own)
        if bias is not None:
            layer.bias = _copy(bias, own)
        made.append(layer)
    return made


def _copy(parameter: nn.Parameter, own: slice) -> nn.Parameter:
    return nn.Parameter(parameter.detach()[own].clone(), requires_grad=parameter.requires_grad)
