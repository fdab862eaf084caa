"""The range that makes the mean squared error of rounding and clipping smallest.

Both ends are searched together, first on a coarse grid between zero and the extremes, then on a
fine one around its best place, with 256 levels of which one is zero. From a streaming histogram.

Source: Nagel et al., A White Paper on Neural Network Quantization, section 3.1
(https://arxiv.org/abs/2106.08295).
"""

from typing import TYPE_CHECKING

from squeeze.recipe.schema import Block

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from squeeze.quantization.calibration.base import Gatherer

NEEDS_VALUES = True
LARGEST = 255
_COARSE, _FINE = 32, 8


class Options(Block):
    """It has none."""


class _LeastSquares:
    def __init__(self) -> None:
        from squeeze.quantization.histogram import Histogram

        self._seen = Histogram()

    def see(self, low: float, high: float, values: "NDArray[np.float32] | None") -> None:
        """Count one image's values."""
        del low, high
        if values is not None:
            self._seen.add(values)

    def range(self) -> tuple[float, float]:
        """Return the best range."""
        import numpy as np

        seen = self._seen
        filled = np.flatnonzero(seen.counts)
        values, counts = seen.centres[filled], seen.counts[filled]
        ends = min(seen.low, 0.0), max(seen.high, 0.0)
        steps = np.arange(1, _COARSE + 1) / _COARSE
        best = _best(values, counts, ends[0] * steps, ends[1] * steps)
        near = np.arange(-_FINE + 1, _FINE) / (_FINE * _COARSE)
        return _best(
            values,
            counts,
            np.clip(best[0] + ends[0] * near, ends[0], 0),
            np.clip(best[1] + ends[1] * near, 0, ends[1]),
        )


def _best(
    values: "NDArray[np.float64]",
    counts: "NDArray[np.int64]",
    lows: "NDArray[np.float64]",
    highs: "NDArray[np.float64]",
) -> tuple[float, float]:
    """Return the pair of ends with the smallest error."""
    import numpy as np

    pairs = [(float(low), float(high)) for low in np.unique(lows) for high in np.unique(highs)]
    return min(pairs, key=lambda ends: squared_error(values, counts, ends))


def squared_error(
    values: "NDArray[np.float64]", counts: "NDArray[np.int64]", ends: tuple[float, float]
) -> float:
    """Return the summed squared error of 8-bit values with this range.

    Args:
        values: Different values ``(n,)``.
        counts: How often each occurs ``(n,)``.
        ends: Low at most 0, high at least 0.
    """
    import numpy as np

    low, high = ends
    step = (high - low) / LARGEST
    if step <= 0:
        return float((counts * values**2).sum())
    zero = round(-low / step)
    rounded = np.clip(np.rint(values / step), -zero, LARGEST - zero) * step
    return float((counts * (values - rounded) ** 2).sum())


def gatherer(options: Options) -> "Gatherer":
    """Return a fresh gatherer."""
    del options
    return _LeastSquares()
