"""Ranges that leave room for biases.

Runtimes add a bias to a layer's products as a 32-bit integer, whose step is that of the input times
that of the weights. Where a layer's inputs are tiny (the coarsest level of a detector whose objects
are small) their step is so fine that the bias overflows; then every output of the layer is wrong.
A wider range costs nothing there: such inputs are negligible beside the bias.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_LARGEST_WEIGHT = 127
_STEPS = 255
_LARGEST_BIAS = 2.0**28
"""Of a bias: the rest of the 32 bits is for the products."""
_ALIVE = 2.0**-8
"""Channels with weights below this share of the layer's largest do not decide its input's range."""


def least_width(weight: "NDArray[np.floating]", bias: "NDArray[np.floating]") -> float:
    """Return how wide, from end to end, the range of a layer's input has to be.

    Args:
        weight: ``(C, …)``, a row per output channel.
        bias: ``(C,)``.
    """
    reach = np.abs(weight).reshape(len(weight), -1).max(1).astype(np.float64)
    alive = reach > _ALIVE * reach.max()
    steps = np.abs(bias[alive]) / _LARGEST_BIAS * _LARGEST_WEIGHT / reach[alive]
    return float(steps.max(initial=0.0)) * _STEPS


def widened(
    ranges: "dict[str, tuple[float, float]]", wanted: "Iterable[tuple[str, float]]"
) -> "dict[str, tuple[float, float]]":
    """Return ranges (low, high) by tensor, those that are too narrow with a higher end."""
    found = dict(ranges)
    for name, width in wanted:
        if name in found:
            low, high = found[name]
            found[name] = low, max(high, min(low, 0.0) + width)
    return found
