"""Channels picked by index: shuffles, splits, slices, repeats and zero padding in one layer."""

from typing import TYPE_CHECKING

import torch  # noqa: TID253  (imported only where a model is)
from torch import nn  # noqa: TID253

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Select(nn.Module):
    """``(N, width, ...) -> (N, len(source), ...)`` with ``out[:, j] = in[:, source[j]]``.

    Attributes:
        source: Buffer ``(channels out,)`` of input channels, -1 for a channel of zeros; it follows
            from the layer and is no part of the weights.
        picks: The same as a list, which bundles record.
        width: Input channels.
        coupled: Whether a channel is removed on both sides at once. Otherwise an input channel
            that goes leaves zeros behind, and an output channel goes alone.
        start: The first input channel where ``source`` counts up without a gap, else -1.
        padded: Whether there are channels of zeros.
    """

    source: "Tensor"

    def __init__(self, source: "Sequence[int]", width: int, *, coupled: bool = True) -> None:
        super().__init__()
        self.picks = list(source)
        self.register_buffer("source", torch.tensor(self.picks, dtype=torch.long), persistent=False)
        self.width = width
        self.coupled = coupled
        self.start = -1
        self.padded = False
        self._describe_()

    def forward(self, x: "Tensor") -> "Tensor":
        """Return the picked channels."""
        if self.start >= 0:
            return x.narrow(1, self.start, len(self.source))
        if not self.padded:
            return x.index_select(1, self.source)
        kept = (self.source >= 0).to(x.dtype).view(-1, *[1] * (x.ndim - 2))
        return x.index_select(1, self.source.clamp(min=0)) * kept

    def remove_outputs_(self, channels: "Sequence[int]") -> None:
        """Drop output channels."""
        gone = set(channels)
        kept = [i for j, i in enumerate(self.source.tolist()) if j not in gone]
        self._set_(kept)

    def remove_inputs_(self, channels: "Sequence[int]") -> None:
        """Let what read these input channels read zeros, and count the others anew."""
        gone = set(channels)
        left = [i for i in range(self.width) if i not in gone]
        place = {old: new for new, old in enumerate(left)}
        self.width = len(left)
        self._set_([place.get(i, -1) for i in self.source.tolist()])

    def derive_(self) -> None:
        """Make the buffer anew after ``picks`` has been set."""
        self._set_(self.picks)

    def _set_(self, source: "Sequence[int]") -> None:
        self.source = torch.tensor(source, dtype=torch.long, device=self.source.device)
        self._describe_()

    def _describe_(self) -> None:
        source = self.picks = self.source.tolist()
        self.padded = any(i < 0 for i in source)
        first = source[0] if source else 0
        in_a_row = not self.padded and source == list(range(first, first + len(source)))
        self.start = first if in_a_row else -1

    def extra_repr(self) -> str:
        """Describe the layer in one line."""
        return f"{self.width}, {len(self.source)}, coupled={self.coupled}"
