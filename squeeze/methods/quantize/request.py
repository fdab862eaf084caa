"""The neutral request that every quantization backend takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from squeeze.core.types import Progress
    from squeeze.methods.quantize.qat.matching import TrainedRanges
    from squeeze.recipe.schema import Quantization
    from squeeze.sources.data import Split


@dataclass(frozen=True)
class Request:
    """Quantize one exported float file.

    Attributes:
        source: The float file.
        destination: The file to write.
        step: The recipe's numbers.
        calibration: Samples that set the activation ranges.
        progress: Where the bar goes.
        log: Where the library's chatter goes.
        trained: Ranges from training, which go before those of calibration.
    """

    source: Path
    destination: Path
    step: "Quantization"
    calibration: "Split"
    progress: "Progress"
    log: Path | None
    trained: "TrainedRanges | None" = None


@dataclass(frozen=True)
class Outcome:
    """What was done, for the report.

    Attributes:
        weight_bits: 7 or 8.
        notes: Choices made and why.
    """

    weight_bits: int
    notes: tuple[str, ...]


def merged(per_image: "NDArray[np.float64]", percentile: float) -> "NDArray[np.float64]":
    """Merge per-image ranges ``(images, tensors, 2)`` to one range per tensor ``(tensors, 2)``.

    One odd image cannot widen a range that all others keep narrow: the lower end is the
    ``percentile`` of the minima, the upper end ``100 - percentile`` of the maxima.
    """
    low = np.percentile(per_image[..., 0], percentile, axis=0)
    high = np.percentile(per_image[..., 1], 100 - percentile, axis=0)
    return np.stack([low, high], axis=-1)
