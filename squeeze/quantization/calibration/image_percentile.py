"""Minimum and maximum of every image, merged at a percentile over the images.

The lower end is the ``percentile`` of the minima, the upper end ``100 - percentile`` of the maxima:
an odd image cannot widen a range that all others keep narrow, and what most images reach is not
clipped. At 0 it is plain min-max.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from squeeze.recipe.schema import Block

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from squeeze.quantization.calibration.base import Gatherer

NEEDS_VALUES = False


class Options(Block):
    """What can be set.

    Attributes:
        percentile: Share of the images whose minimum (or maximum) is left outside the range, in
            percent.
    """

    percentile: Annotated[float, Field(strict=True, ge=0, lt=50)] = 10.0


class _Merged:
    """Two numbers per image, up to a bound; histograms of them beyond."""

    def __init__(self, percentile: float) -> None:
        from squeeze.quantization.histogram import Quantiles

        self._percentile = percentile
        self._lows, self._highs = Quantiles(), Quantiles()

    def see(self, low: float, high: float, values: "NDArray[np.float32] | None") -> None:
        """Keep one image's range."""
        del values
        self._lows.add(low)
        self._highs.add(high)

    def range(self) -> tuple[float, float]:
        """Return the merged range."""
        return self._lows.at(self._percentile), self._highs.at(100 - self._percentile)


def gatherer(options: Options) -> "Gatherer":
    """Return a fresh gatherer."""
    return _Merged(options.percentile)
