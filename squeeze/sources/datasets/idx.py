"""A folder of idx files, the format of MNIST and Fashion-MNIST (plain or gzipped).

Source: http://yann.lecun.com/exdb/mnist (file format), Fashion-MNIST uses the same names.
"""

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.errors import InputError
from squeeze.recipe.schema import DataSource
from squeeze.sources.datasets.base import ArraySamples, Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PREFIX = {"train": "train", "validation": "t10k"}
_UNSIGNED_BYTE = 8


def open_samples(source: DataSource, folder: Path, split: str) -> Samples:
    """Return ``train-*`` for train and ``t10k-*`` for validation."""
    root = folder / str(source.path)
    images = _read(_find(root, f"{_PREFIX[split]}-images-idx3-ubyte"), dimensions=3)
    labels = _read(_find(root, f"{_PREFIX[split]}-labels-idx1-ubyte"), dimensions=1)
    names = [str(label) for label in range(int(labels.max(initial=0)) + 1)]
    return ArraySamples(images, labels.astype(np.int64), names, f"{root.name}:{split}")


def _find(root: Path, name: str) -> Path:
    for path in (root / name, root / f"{name}.gz"):
        if path.is_file():
            return path
    raise InputError(f"has no file {name} or {name}.gz", where=str(root))


def _read(path: Path, *, dimensions: int) -> "NDArray[np.uint8]":
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"is damaged: {error}", where=str(path)) from error
    head = 4 + 4 * dimensions
    if len(data) < head or tuple(data[:4]) != (0, 0, _UNSIGNED_BYTE, dimensions):
        raise InputError(f"is no idx file of {dimensions}-dimensional bytes", where=str(path))
    shape = tuple(np.frombuffer(data, ">u4", dimensions, 4).astype(int))
    if len(data) - head != np.prod(shape):
        raise InputError(
            f"holds {len(data) - head} bytes, its header says {np.prod(shape)}", where=str(path)
        )
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)
