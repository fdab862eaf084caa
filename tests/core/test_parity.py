"""Outputs of files beside those of the models they were made from."""

import numpy as np
import pytest

from squeeze.core.detector import DetectorSpec
from squeeze.core.parity import distances

TWO_STAGE = DetectorSpec("two_stage", 1, background=0, scores="softmax")


def outputs(seed: int) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.random((2, 100, width)).astype(np.float32) * 100 for width in (2, 8, 5)]


def test_the_largest_difference_counts() -> None:
    expected = outputs(0)
    found = [each.copy() for each in expected]
    found[1][1, 3, 2] += 0.5
    apart = distances(found, expected, None)
    assert [pair[0] for pair in apart] == pytest.approx([0, 0.5, 0], abs=1e-4)
    assert [pair[1] for pair in apart] == [float(each.max()) for each in expected]


def test_proposals_may_change_places() -> None:
    expected = outputs(0)
    order = np.random.default_rng(1).permutation(100)
    found = [each[:, order] + np.float32(0.01) for each in expected]
    assert max(pair[0] for pair in distances(found, expected, TWO_STAGE)) < 0.011
    for each, other in zip(found, outputs(2), strict=True):
        each[1, 7] = other[1, 7]  # a proposal that another one displaced
    assert max(pair[0] for pair in distances(found, expected, TWO_STAGE)) < 0.011
    for each, other in zip(found, outputs(2), strict=True):
        each[1, :9] = other[1, :9]
    assert max(pair[0] for pair in distances(found, expected, TWO_STAGE)) > 1
    found[0][0, 0, 0] = np.nan
    assert not distances(found, expected, TWO_STAGE)[0][0] <= 1e9
