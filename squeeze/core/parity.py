"""How far a file's raw outputs are from those of the model that it was made from."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from squeeze.core.detector import DetectorSpec

    Arrays = Sequence[NDArray[np.float32]]

SHARE = 0.99
"""Of proposals and chosen queries, those that are compared."""


def distances(
    found: "Arrays", expected: "Arrays", detector: "DetectorSpec | None"
) -> list[tuple[float, float]]:
    """Return of every output the largest difference, and the largest value that was expected.

    The proposals of a two-stage detector stand in the order of their scores, and thresholds choose
    them: the last digit of a score may exchange two, or put one in another's place. So it may with
    queries that a model chooses itself (RT-DETR). Each is compared with the nearest one that was
    found, and the furthest percent of them is left out.

    Args:
        found: All outputs of a batch.
        expected: The same, in the same shapes.
        detector: How they are read, if they are a detector's.
    """
    if detector is not None and detector.decoder in _CHOOSES:
        keys = (_CHOOSES[detector.decoder](outputs) for outputs in (found, expected))
        pairs = [_nearest(*images) for images in zip(*keys, strict=True)]
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
    """Return which row found ``(P, k)`` is nearest to each that was expected ``(P, k)``."""
    apart = np.zeros((len(expected), len(found)), np.float32)
    for one, other in zip(found.T, expected.T, strict=True):
        np.maximum(apart, np.abs(other[:, None] - one[None]), out=apart)
    nearest: NDArray[np.int64] = apart.argmin(1)
    return nearest


def _proposals(outputs: "Arrays") -> "NDArray[np.float32]":
    return outputs[-1][..., :4]


def _queries(outputs: "Arrays") -> "NDArray[np.float32]":
    return np.concatenate(list(outputs), axis=-1)


_CHOOSES: "Mapping[str, Callable[[Arrays], NDArray[np.float32]]]" = {
    "two_stage": _proposals,
    "detr": _queries,
}
"""By decoder, what identifies places whose order means nothing, ``(N, P, k)``."""
