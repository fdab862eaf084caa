"""Ranges of a file's activations, gathered image by image by the recipe's calibrator."""

from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.errors import InputError, SqueezeError
from squeeze.recipe import calibrators

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from squeeze.data.splits import Split
    from squeeze.quantization.calibration.base import Gatherer
    from squeeze.recipe.schema import CalibratorBlock


class Calibration:
    """Gathers ranges, for the backends and for training in the simulation.

    Args:
        block: The recipe's calibrator.
        where: What messages call the model.

    Attributes:
        needs_values: Whether ``see_values`` must be called; else ``see_ends`` will do.

    Raises:
        InputError: There is no such calibrator, or it does not take these numbers.
    """

    def __init__(self, block: "CalibratorBlock", where: str) -> None:
        self._module, self._options = calibrators.load(block)
        self._name, self._where = block.name, where
        self._gatherers: dict[str, Gatherer] = {}
        self.needs_values: bool = self._module.NEEDS_VALUES

    def see_values(self, tensor: str, values: "NDArray[np.floating]") -> None:
        """Take a tensor's values on one image into account.

        Raises:
            SqueezeError: One of them is NaN or infinite.
        """
        if values.size:
            flat = np.ravel(values).astype(np.float32, copy=False)
            self._see(tensor, float(flat.min()), float(flat.max()), flat)

    def see_ends(self, tensor: str, low: float, high: float) -> None:
        """Take the smallest and largest value of a tensor on one image into account.

        A tensor without values has infinity and minus infinity and is left out: a level of a
        pyramid at which no proposal lies.

        Raises:
            SqueezeError: One of them is NaN or infinite.
        """
        if (low, high) != (np.inf, -np.inf):
            self._see(tensor, low, high, None)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Return (low, high) of every tensor seen, finite and low at most high.

        What is zero on all samples, like the output of a dead ReLU, gets the width of the widest
        range: any scale is exact for it, and with one near zero LiteRT's kernels abort the process.
        """
        found = {tensor: gatherer.range() for tensor, gatherer in self._gatherers.items()}
        widest = max((high - low for low, high in found.values()), default=0.0) or 1.0
        return {
            tensor: (0.0, widest) if low == high == 0 else (low, high)
            for tensor, (low, high) in found.items()
        }

    def note(self, calibration: "Split") -> str:
        """Describe the calibrator, its numbers and the samples, for the report."""
        numbers = ", ".join(f"{key} {value:g}" for key, value in self._options.model_dump().items())
        name = f"{self._name} ({numbers})" if numbers else self._name
        return f"ranges by {name} on {description_of(calibration)}"

    def _see(
        self, tensor: str, low: float, high: float, values: "NDArray[np.float32] | None"
    ) -> None:
        if not (np.isfinite(low) and np.isfinite(high)):
            raise SqueezeError(
                f"the activation {tensor} is NaN or infinite on calibration data",
                where=self._where,
                hint="look for a division by zero or weights that are NaN",
            )
        if tensor not in self._gatherers:
            self._gatherers[tensor] = self._module.gatherer(self._options)
        self._gatherers[tensor].see(low, high, values)


def description_of(calibration: "Split") -> str:
    """Return how many samples there are, where they came from and what they hash to."""
    drawn = f" {calibration.drawn}" if calibration.drawn else ""
    return f"{len(calibration)} samples{drawn}, content hash {calibration.fingerprint}"


def refuse_empty(calibration: "Split") -> None:
    """Refuse to calibrate without samples.

    Raises:
        InputError: There are none.
    """
    if not len(calibration):
        raise InputError("has no samples left", where="data.calibration")
