"""What every calibrator file holds, and what its gatherers see.

A calibrator file holds ``NEEDS_VALUES`` (whether it looks at the values of an activation or only at
their minimum and maximum), ``Options`` (a ``Block`` whose keys a recipe may set) and
``gatherer(options)``, which returns a fresh :class:`Gatherer`.
"""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Gatherer(Protocol):
    """Gathers what it needs of one tensor; its memory does not grow with the number of images."""

    def see(self, low: float, high: float, values: "NDArray[np.float32] | None") -> None:
        """Take one image into account.

        Args:
            low: The tensor's smallest value on this image, finite.
            high: Its largest.
            values: All of them, in any shape; given when the calibrator needs values.
        """
        ...

    def range(self) -> tuple[float, float]:
        """Return the range (low, high) of all images seen; at least one was."""
        ...
