"""Multi-head attention whose inner width is its own: heads times channels per head.

Query, key and value are layers of their own, so that Torch-Pruning sees them; everything else is
read from them. Source of the operation: Vaswani et al., Attention Is All You Need, section 3.2
(https://arxiv.org/abs/1706.03762).
"""

from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253  (imported only where a model is)
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

from squeeze.models.adapters.base import Blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Heads(nn.Module):
    """Join heads, ``(..., count, L, size) -> (..., L, count * size)``, and remember how many.

    Attributes:
        count: Heads.
        size: Channels per head.
    """

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.count = count
        self.size = size

    def split(self, x: "Tensor") -> "Tensor":
        """Return ``(..., L, count * size)`` as ``(..., count, L, size)``."""
        return torch.unflatten(x, -1, (self.count, self.size)).transpose(-3, -2)

    def forward(self, x: "Tensor") -> "Tensor":
        """Return the heads side by side."""
        return x.transpose(-3, -2).flatten(-2)


class PositionBias(nn.Module):
    """A learned number per head and relative position, added to attention scores.

    Attributes:
        table: Parameter ``(positions, count)``.
        index: Buffer ``(L * L,)``: which row of the table each pair of tokens reads; no
            part of the weights, for it follows from the window.
        count: Heads.
        size: Channels per head.
    """

    index: "Tensor"

    def __init__(self, table: nn.Parameter, index: "Tensor", size: int) -> None:
        super().__init__()
        self.table = table
        self.register_buffer("index", index.flatten(), persistent=False)
        self.count = table.shape[1]
        self.size = size
        self.tokens = round(len(self.index) ** 0.5)

    def forward(self) -> "Tensor":
        """Return ``(count, L, L)``."""
        bias = self.table[self.index]
        return bias.view(self.tokens, self.tokens, -1).permute(2, 0, 1)


class Attention(nn.Module):
    """Self or cross attention on tokens ``(..., L, C)``.

    Args:
        q: Queries, ``C -> count * size``.
        k: Keys.
        v: Values.
        out: ``count * size -> C``.
        heads: How many, and channels of each.
        scale: Multiplies the scores; stays what it was in training when channels go.
        bias: Relative positions, or None.
        dropout: Probability of dropping a weight in training.
    """

    def __init__(  # noqa: PLR0913  (the layer's parts)
        self,
        q: nn.Linear,
        k: nn.Linear,
        v: nn.Linear,
        out: nn.Linear,
        *,
        heads: Heads,
        scale: float,
        bias: PositionBias | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = q, k, v, out
        self.heads = heads
        self.scale = scale
        self.bias = bias
        self.dropout = dropout

    def attend(
        self,
        query: "Tensor",
        key: "Tensor",
        value: "Tensor",
        mask: "Tensor | None" = None,
        *,
        is_causal: bool = False,
    ) -> "Tensor":
        """Return ``(..., L, C)``; ``mask`` is added to the scores or, if boolean, says who is seen.

        With position biases tokens are ``(N, windows, L, C)``.
        """
        q = self.heads.split(self.q(query))
        k = self.heads.split(self.k(key))
        v = self.heads.split(self.v(value))
        dropout = self.dropout if self.training else 0.0
        if self.bias is None:
            found = functional.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, dropout_p=dropout, scale=self.scale, is_causal=is_causal
            )
        else:
            found = self._biased(q, k, v, mask, dropout)
        return self.out(self.heads(found))  # type: ignore[no-any-return]

    def _biased(
        self, q: "Tensor", k: "Tensor", v: "Tensor", mask: "Tensor | None", dropout: float
    ) -> "Tensor":
        """Attend with relative positions; ``(N, windows, count, L, size)``.

        Products are of four dimensions: a five-dimensional one expands its factors, and
        Torch-Pruning takes that for the shared keys of grouped-query attention.
        """
        if self.bias is None:
            raise TypeError("needs position biases")
        windows = q.shape[1]
        q, k, v = q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)
        scores = (q * self.scale) @ k.transpose(-2, -1) + self.bias()
        if mask is not None:
            scores = (torch.unflatten(scores, 0, (-1, windows)) + mask).flatten(0, 1)
        found = functional.dropout(scores.softmax(-1), dropout) @ v
        return torch.unflatten(found, 0, (-1, windows))

    def forward(self, x: "Tensor") -> "Tensor":
        """Return tokens that have looked at each other."""
        return self.attend(x, x, x)


def split_linear(weight: nn.Parameter, bias: nn.Parameter | None, parts: int) -> list[nn.Linear]:
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


def pruners() -> dict[type[nn.Module], Any]:
    """Return how ``Heads`` and ``PositionBias`` follow the removal of inner channels."""
    from torch_pruning.pruner.function import BasePruningFunc

    class HeadsPruner(BasePruningFunc):  # type: ignore[misc]
        """Whole heads, or as many channels in each, in coordinates of ``count * size``."""

        TARGET_MODULES = (Heads, PositionBias)

        def prune_out_channels(
            self, layer: Heads | PositionBias, idxs: "Sequence[int]"
        ) -> Heads | PositionBias:
            kept, size = _remaining(layer.count, layer.size, idxs)
            layer.count, layer.size = len(kept), size
            if isinstance(layer, PositionBias):
                layer.table = self._prune_parameter_and_grad(layer.table, kept, 1)
            return layer

        prune_in_channels = prune_out_channels

        def get_out_channels(self, layer: Heads | PositionBias) -> int:
            return layer.count * layer.size

        get_in_channels = get_out_channels

    return {Heads: HeadsPruner(), PositionBias: HeadsPruner()}


def _remaining(count: int, size: int, removed: "Sequence[int]") -> tuple[list[int], int]:
    """Return the heads that are left and the channels of each."""
    gone = set(removed)
    left = [sum(head * size + i not in gone for i in range(size)) for head in range(count)]
    kept = [head for head, channels in enumerate(left) if channels]
    if len({left[head] for head in kept}) != 1:
        raise ValueError(f"heads must keep equally many channels, found {left}")
    return kept, left[kept[0]]


def blocks(module: nn.Module) -> dict[nn.Module, Blocks]:
    """Return the heads of every query, key and value layer."""
    return {
        layer: Blocks(attention.heads.count, attention.heads.size, heads=True)
        for attention in module.modules()
        if isinstance(attention, Attention)
        for layer in (attention.q, attention.k, attention.v)
    }
