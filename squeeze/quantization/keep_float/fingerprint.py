"""Recognise tensors by their values: names and layouts change on the way to a file."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RANKS = 512
_TOLERANCE = 1e-4
"""Of the largest value; float kernels differ by far less, activations by far more."""


@dataclass(frozen=True)
class Fingerprint:
    """What is left of a tensor whatever its layout: its size, and values at fixed ranks.

    Memory does not grow with the tensor.

    Attributes:
        size: How many values it has.
        values: Its values in ascending order, at most 512 of them at even distances.
    """

    size: int
    values: "NDArray[np.float32]"

    @classmethod
    def of(cls, values: "NDArray[np.floating]") -> "Fingerprint":
        """Take the fingerprint of a tensor of any shape."""
        ascending = np.sort(np.ravel(values)).astype(np.float32)
        ranks = np.linspace(0, len(ascending) - 1, min(_RANKS, len(ascending))).round()
        return cls(len(ascending), ascending[ranks.astype(np.int64)])

    def same(self, other: "Fingerprint") -> bool:
        """Tell whether both are of the same values, but for the rounding of float kernels."""
        if self.size != other.size:
            return False
        if not self.size:
            return True
        scale = float(np.abs(self.values).max())
        return bool(np.abs(self.values - other.values).max() <= _TOLERANCE * scale)
