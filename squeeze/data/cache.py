"""Images that stay in memory once they are read, as long as they fit."""

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from squeeze.data.samples import Pixels

    Read = Callable[[int], Pixels]

_MOST_BYTES = 2**30
_SHARE_OF_MEMORY = 0.25


@cache
def limit_bytes() -> int:
    """Return how much one set may keep: 1 GiB, but at most a quarter of the free memory."""
    import psutil

    return int(min(_MOST_BYTES, _SHARE_OF_MEMORY * psutil.virtual_memory().available))


@dataclass
class EqualImages:
    """Images of one shape, in one array: a batch is then taken out in one go.

    Attributes:
        count: How many there are.
        limit: Bytes; when all do not fit, none is kept.
    """

    count: int
    limit: int
    _whole: "Pixels | None" = None
    _there: "NDArray[np.bool_] | None" = None

    def take(self, positions: "NDArray[np.int64]", read: "Read") -> "Pixels":
        """Return ``(n, C, H, W)``, reading what is not there yet."""
        if self._whole is None or self._there is None:
            first = read(int(positions[0]))
            if first.nbytes * self.count > self.limit:
                return np.stack([first, *(read(int(p)) for p in positions[1:])])
            self._whole = np.empty((self.count, *first.shape), first.dtype)
            self._there = np.zeros(self.count, np.bool_)
            self._whole[positions[0]] = first
            self._there[positions[0]] = True
        for position in np.unique(positions[~self._there[positions]]).tolist():
            self._whole[position] = self._same_kind(read(position))
            self._there[position] = True
        return self._whole[positions]

    def _same_kind(self, image: "Pixels") -> "Pixels":
        if self._whole is not None and image.dtype != self._whole.dtype:
            raise InputError(
                f"some images are {image.dtype} and some {self._whole.dtype}",
                where="data",
                hint="return pixels (uint8) for all, or preprocessed floats for all",
            )
        return image


@dataclass
class UnequalImages:
    """Pictures of their own sizes; those that fit are kept.

    Attributes:
        limit: Bytes.
    """

    limit: int
    _kept: "dict[int, Pixels]" = field(default_factory=dict)
    _bytes: int = 0

    def take(self, position: int, read: "Read") -> "Pixels":
        """Return one picture, read or kept."""
        if position in self._kept:
            return self._kept[position]
        picture = read(position)
        if self._bytes + picture.nbytes <= self.limit:
            self._kept[position] = picture
            self._bytes += picture.nbytes
        return picture
