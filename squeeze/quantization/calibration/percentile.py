"""The middle ``percentile`` percent of all values of all images.

As much is cut off at either end, so 99.99 clips one value in 20,000 at the top and one at the
bottom; where many values are equal, as after a ReLU, nothing need be cut at that end. From a
streaming histogram: exact to 1/2048 of the range.

Source: Wu et al., Integer Quantization for Deep Learning Inference, section 3.2
(https://arxiv.org/abs/2004.09602), at both ends as in ONNX Runtime's ``PercentileCalibrater``.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from squeeze.recipe.schema import Block

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from squeeze.quantization.calibration.base import Gatherer

NEEDS_VALUES = True


class Options(Block):
    """What can be set.

    Attributes:
        percentile: Share of all values that the range holds, in percent.
    """

    percentile: Annotated[float, Field(strict=True, gt=50, le=100)] = 99.99


class _Middle:
    def __init__(self, percentile: float) -> None:
        from squeeze.quantization.histogram import Histogram

        self._cut = (100 - percentile) / 200
        self._seen = Histogram()

    def see(self, low: float, high: float, values: "NDArray[np.float32] | None") -> None:
        """Count one image's values."""
        del low, high
        if values is not None:
            self._seen.add(values)

    def range(self) -> tuple[float, float]:
        """Return the two quantiles."""
        return self._seen.quantile(self._cut), self._seen.quantile(1 - self._cut)


def gatherer(options: Options) -> "Gatherer":
    """Return a fresh gatherer."""
    return _Middle(options.percentile)
