"""How far a file's raw outputs are from those of the model that it was made from."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from squeeze.core.detector import DetectorSpec

    Arrays = Sequence[NDArray[np.float32]]

SHARE = 0.99
"""Of the proposals of two stages, those that are compared."""


def distances(
    found: "Arrays", expected: "Arrays", detector: "DetectorSpec | None"
) -> list[tuple[float, float]]:
    """Return of every output the largest difference, and the largest value that was expected.

    The proposals of a two-stage detector stand in the order of their scores, and thresholds choose
    them: the last digit of a score may exchange two, or put one in another's place. Each proposal
    is compared with the nearest one that was found, and the furthest percent of them is left out.

    Args:
        found: All outputs of a batch.
        expected: The same, in the same shapes.
        detector: How they are read, if they are a detector's.
    """
    if detector is not None and detector.decoder == "two_stage":
        pairs = [_nearest(*images) for images in zip(found[-1], expected[-1], strict=True)]
        found = [
            np.stack([own[order] for own, order in zip(each, pairs, strict=True)]) for each in found
        ]
        rows = [np.abs(one - other).max(-1) for one, other in zip(found, expected, strict=True)]
        furthest = [float(np.quantile(each, SHARE)) for each in rows]
    else:
        furthest = [
            float(np.abs(one - other).max()) for one, other in zip(found, expected, strict=True)
        ]
    largest = [float(np.abs(each).max()) for each in expected]
    return list(zip(furthest, largest, strict=True))


def _nearest(found: "NDArray[np.float32]", expected: "NDArray[np.float32]") -> "NDArray[np.int64]":
    """Return which proposal found ``(P, 5)`` is nearest to each that was expected ``(P, 5)``."""
    apart = np.abs(expected[:, None, :4] - found[None, :, :4]).max(-1)
    nearest: NDArray[np.int64] = apart.argmin(1)
    return nearest
