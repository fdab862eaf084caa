"""Read idx files."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core import reading
from squeeze.core.errors import InputError
from squeeze.data.samples import ArraySamples, Samples
from squeeze.recipe.schema import DataSource

if TYPE_CHECKING:
    from numpy.typing import NDArray


_PREFIX = {"train": "train", "validation": "t10k"}
_UNSIGNED_BYTE = 8
_MOST_BYTES = 4096 * reading.MIB


def open_samples(source: DataSource, folder: Path, split: str) -> Samples:
    """Return ``train-*`` for train and ``t10k-*`` for validation."""
    root = folder / str(source.path)
    images = _read(_find(root, f"{_PREFIX[split]}-images-idx3-ubyte"), dimensions=3)
    labels = _read(_find(root, f"{_PREFIX[split]}-labels-idx1-ubyte"), dimensions=1)
    names = [str(label) for label in range(int(labels.max(initial=0)) + 1)]
    return ArraySamples(images, labels.astype(np.int64), names, f"{root.name}:{split}")


def _find(root: Path, name: str) -> Path:
    for path in (root / name, root / f"{name}.gz"):
        if reading.is_file(path):
            return path
    raise InputError(f"has no file {name} or {name}.gz", where=reading.shortened(root))


def _read(path: Path, *, dimensions: int) -> "NDArray[np.uint8]":
    where = reading.shortened(path)
    opened = gzip.open if path.suffix == ".gz" else open
    length = 4 + 4 * dimensions
    try:
        with opened(path, "rb") as file:
            head = file.read(length)
            if len(head) < length or tuple(head[:4]) != (0, 0, _UNSIGNED_BYTE, dimensions):
                what = f"is not an idx file of {dimensions}-dimensional bytes"
                raise InputError(what, where=where)
            shape = struct.unpack(f">{dimensions}I", head[4:])
            size = math.prod(shape)
            if size > _MOST_BYTES:
                what = f"claims {size:,} bytes in its header, the most is {_MOST_BYTES:,}"
                raise InputError(what, where=where)
            data = file.read(size + 1)  # no more: a few packed bytes can become any number
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"is damaged: {reading.reason(error)}", where=where) from error
    if len(data) != size:
        found = f"more than {size:,}" if len(data) > size else f"{len(data):,}"
        raise InputError(f"holds {found} bytes, its header says {size:,}", where=where)
    return np.frombuffer(data, np.uint8).reshape(shape)
