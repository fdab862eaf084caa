"""Images kept in memory."""

import numpy as np
import pytest

from squeeze.core.errors import InputError
from squeeze.data.cache import EqualImages, UnequalImages


class Files:
    """Counts how often every image is read."""

    def __init__(self, count: int) -> None:
        self.images = np.random.default_rng(0).integers(0, 256, (count, 1, 4, 4), np.uint8)
        self.reads: list[int] = []

    def read(self, position: int) -> np.ndarray:
        self.reads.append(position)
        return self.images[position]


@pytest.mark.parametrize(("limit", "reads"), [(160, 3), (159, 6)])
def test_equal_images_are_kept_when_all_fit(limit: int, reads: int) -> None:
    files = Files(10)
    cache = EqualImages(10, limit)
    for positions in ([3, 5, 3], [5, 7, 3]):
        found = cache.take(np.array(positions), files.read)
        assert np.array_equal(found, files.images[positions])
    assert len(files.reads) == reads


def test_pixels_and_floats_do_not_mix() -> None:
    cache = EqualImages(2, 1000)
    kinds = [np.zeros((1, 2, 2), np.uint8), np.zeros((1, 2, 2), np.float32)]
    with pytest.raises(InputError, match="some images are float32 and some uint8"):
        cache.take(np.array([0, 1]), kinds.__getitem__)


def test_unequal_images_are_kept_as_far_as_they_fit() -> None:
    files = Files(3)
    cache = UnequalImages(32)
    for position in (0, 1, 2, 0, 1, 2):
        assert np.array_equal(cache.take(position, files.read), files.images[position])
    assert files.reads == [0, 1, 2, 2]
