"""What the pipeline asks of a task."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class Task(Protocol):
    """A task turns outputs into a loss, and into predictions that can be scored."""

    def loss(
        self,
        outputs: "Tensor",
        labels: "Tensor",
        *,
        label_smoothing: float,
        focal_gamma: float = 0.0,
    ) -> "Tensor":
        """Return the mean training loss of a batch."""
        ...

    def predictions(self, outputs: "NDArray[np.float32]") -> "NDArray[np.int64]":
        """Reduce raw outputs of a batch to what scoring needs."""
        ...
