"""The range whose 256 levels tell most about the values: least Kullback-Leibler divergence.

Ranges around zero from 256 bins up to all of them are tried. What lies outside is counted into the
outermost bins, the bins inside are joined to 256 levels, and the divergence of the levels from the
bins is taken; the best range is then cut to the values seen.

Source: Migacz, 8-bit Inference with TensorRT (GTC 2017), as in ONNX Runtime's
``HistogramCollector.get_entropy_threshold``
(https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/python/tools/quantization/calibrate.py).
"""

from typing import TYPE_CHECKING

from squeeze.recipe.schema import Block

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from squeeze.quantization.calibration.base import Gatherer

NEEDS_VALUES = True
LEVELS = 256
_BINS = 2048
_SMALL = 1e-4
"""Takes the place of an empty bin's count."""


class Options(Block):
    """It has none."""


class _Divergence:
    def __init__(self) -> None:
        from squeeze.quantization.histogram import Histogram

        self._seen = Histogram(_BINS)

    def see(self, low: float, high: float, values: "NDArray[np.float32] | None") -> None:
        """Count one image's values."""
        del low, high
        if values is not None:
            self._seen.add(values)

    def range(self) -> tuple[float, float]:
        """Return the range of least divergence."""
        import numpy as np

        seen, edges = self._seen, self._seen.edges
        zero = int(np.flatnonzero(edges == 0)[0])
        reach = max(zero, len(seen.counts) - zero)
        around = np.zeros(2 * reach, np.int64)  # as many bins on both sides of zero
        around[reach - zero : reach - zero + len(seen.counts)] = seen.counts
        low, high = least_divergence(around, LEVELS)
        width = float(edges[1] - edges[0])
        return max((low - reach) * width, seen.low), min((high - reach) * width, seen.high)


def least_divergence(counts: "NDArray[np.int64]", levels: int) -> tuple[int, int]:
    """Return the edges (start, end) of the bins whose levels diverge least from them.

    Args:
        counts: Of bins around zero, an even number of them, ``(bins,)``.
        levels: How many the range has after quantization, at most ``bins``.
    """
    import numpy as np

    middle, least, best = len(counts) // 2, np.inf, (0, len(counts))
    below = np.concatenate([[0], np.cumsum(counts)])
    for half in range(levels // 2, middle + 1):
        start, end = middle - half, min(middle + half + 1, len(counts))
        inside = counts[start:end]
        clipped = inside.copy()
        clipped[0] += below[start]
        clipped[-1] += below[-1] - below[end]
        found = _divergence(_smooth(clipped), _smooth(_joined(inside, clipped != 0, levels)))
        if found < least:
            least, best = found, (start, end)
    return best


def _joined(
    inside: "NDArray[np.int64]", filled: "NDArray[np.bool_]", levels: int
) -> "NDArray[np.int64]":
    """Return the bins as the levels show them: each level's count spread over its filled bins."""
    import numpy as np

    size = len(inside) // levels
    starts = np.arange(levels) * size
    whole = np.add.reduceat(inside, starts)  # the last level takes the rest
    bins = np.add.reduceat(filled[: levels * size].astype(np.int64), starts)
    spread = np.zeros(len(inside), np.int64)
    spread[: levels * size] = np.repeat(whole // np.maximum(bins, 1), size)
    return spread


def _smooth(counts: "NDArray[np.int64]") -> "NDArray[np.float64] | None":
    """Return counts without zeros and of the same sum; None where all are zero."""
    import numpy as np

    empty = counts == 0
    filled = len(counts) - int(empty.sum())
    if not filled:
        return None
    return np.where(empty, _SMALL, counts - _SMALL * (len(counts) - filled) / filled)


def _divergence(p: "NDArray[np.float64] | None", q: "NDArray[np.float64] | None") -> float:
    import numpy as np

    if p is None or q is None or p.min() <= 0 or q.min() <= 0:
        return float("inf")
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())


def gatherer(options: Options) -> "Gatherer":
    """Return a fresh gatherer."""
    del options
    return _Divergence()
