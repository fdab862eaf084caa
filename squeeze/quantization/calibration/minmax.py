"""The smallest and the largest value of all images.

Nothing is clipped, and one odd image widens the range of all.

Source: Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-
Only Inference, section 3 (https://arxiv.org/abs/1712.05877).
"""

import math
from typing import TYPE_CHECKING

from squeeze.recipe.schema import Block

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from squeeze.quantization.calibration.base import Gatherer

NEEDS_VALUES = False


class Options(Block):
    """It has none."""


class _Extremes:
    """Two numbers."""

    def __init__(self) -> None:
        self._low, self._high = math.inf, -math.inf

    def see(self, low: float, high: float, values: "NDArray[np.float32] | None") -> None:
        """Widen to one image's range."""
        del values
        self._low, self._high = min(self._low, low), max(self._high, high)

    def range(self) -> tuple[float, float]:
        """Return the extremes."""
        return self._low, self._high


def gatherer(options: Options) -> "Gatherer":
    """Return a fresh gatherer."""
    del options
    return _Extremes()
