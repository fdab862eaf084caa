"""Counts of values in a fixed number of bins, however many values come and however they spread.

Bins are as wide as a power of two and start at multiples of their width. Where a value does not
fit, bins are joined in pairs, which moves no count across a border: the histogram depends on the
values only and not on their order, and equals the one made of all values at once.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FINEST = -100
"""Exponent of the narrowest bin: 2**-100, well inside float32."""


class Histogram:
    """A streaming histogram that always includes zero, as quantized ranges do.

    At least half of the bins lie between zero, the smallest and the largest value.

    Args:
        bins: How many; memory is eight bytes each.
    """

    def __init__(self, bins: int = 4096) -> None:
        self.counts = np.zeros(bins, np.int64)
        self.low, self.high = math.inf, -math.inf
        self._exponent, self._first = _FINEST, 0

    def add(self, values: "NDArray[np.float32]") -> None:
        """Count finite values of any shape."""
        flat = np.ravel(values)
        if not flat.size:
            return
        self.low, self.high = min(self.low, float(flat.min())), max(self.high, float(flat.max()))
        self._widen_()
        places = np.floor(flat * flat.dtype.type(2.0**-self._exponent)).astype(np.int64)
        self.counts += np.bincount(places - self._first, minlength=len(self.counts))

    @property
    def edges(self) -> "NDArray[np.float64]":
        """Where bins begin and end, ``(bins + 1,)``, ascending; zero is one of them."""
        places = np.arange(len(self.counts) + 1, dtype=np.float64)
        return (self._first + places) * 2.0**self._exponent

    @property
    def centres(self) -> "NDArray[np.float64]":
        """The middle of every bin, ``(bins,)``."""
        edges = self.edges
        return (edges[:-1] + edges[1:]) / 2

    def quantile(self, share: float) -> float:
        """Return the value below which a share in [0, 1] of the values lies.

        Exact to the width of a bin, between the smallest and the largest value.
        """
        below = np.cumsum(self.counts)
        wanted = share * below[-1]
        place = int(np.searchsorted(below, wanted))
        within = 1 - (below[place] - wanted) / max(1, self.counts[place])
        value = (self._first + place + within) * 2.0**self._exponent
        return float(np.clip(value, self.low, self.high))

    def _widen_(self) -> None:
        """Join bins until all values and zero have one."""
        low, high, bins = min(self.low, 0.0), max(self.high, 0.0), len(self.counts)
        exponent = max(self._exponent, math.ceil(math.log2(max((high - low) / bins, 2.0**_FINEST))))
        while math.floor(high * 2.0**-exponent) - math.floor(low * 2.0**-exponent) >= bins:
            exponent += 1
        first = math.floor(low * 2.0**-exponent)
        if (exponent, first) == (self._exponent, self._first):
            return
        filled = np.flatnonzero(self.counts)
        places = ((filled + self._first) >> (exponent - self._exponent)) - first
        moved = np.zeros_like(self.counts)
        np.add.at(moved, places, self.counts[filled])
        self.counts, self._exponent, self._first = moved, exponent, first


class Quantiles:
    """Quantiles of a stream of numbers: exact for the first of them, binned when there are more.

    Args:
        exact: How many numbers are kept as they are.
    """

    def __init__(self, exact: int = 1024) -> None:
        self._exact = exact
        self._kept: list[float] = []
        self._binned: Histogram | None = None

    def add(self, value: float) -> None:
        """Take one number into account."""
        self._kept.append(value)
        if len(self._kept) >= self._exact:
            self._binned = self._binned or Histogram()
            self._binned.add(np.array(self._kept))
            self._kept = []

    def at(self, percentile: float) -> float:
        """Return a percentile, in [0, 100], of the numbers seen."""
        if self._binned is None:
            return float(np.percentile(self._kept, percentile))
        if self._kept:
            self._binned.add(np.array(self._kept))
            self._kept = []
        return self._binned.quantile(percentile / 100)
