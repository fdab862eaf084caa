"""Moving average of every image's minimum and maximum.

Starts at the first image's range and moves towards each following one by ``rate``; values beyond
the average are clipped, half of the images' extremes in the end.

Source: Jacob et al., section 3.1 (https://arxiv.org/abs/1712.05877); the rate is the one of
PyTorch's ``MovingAverageMinMaxObserver``.
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
        rate: Share of each image's range in the average that follows it.
    """

    rate: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.01


class _Average:
    """Two numbers."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._ends: tuple[float, float] | None = None

    def see(self, low: float, high: float, values: "NDArray[np.float32] | None") -> None:
        """Move towards one image's range."""
        del values
        before = self._ends or (low, high)
        self._ends = (
            before[0] + self._rate * (low - before[0]),
            before[1] + self._rate * (high - before[1]),
        )

    def range(self) -> tuple[float, float]:
        """Return the average."""
        return self._ends or (0.0, 0.0)


def gatherer(options: Options) -> "Gatherer":
    """Return a fresh gatherer."""
    return _Average(options.rate)
