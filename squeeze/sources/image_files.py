"""Image files on disk: decode one, hash one, look only at its head.

Phones store pictures as the sensor lay and note in the EXIF data how to turn them. Here they are
turned, as viewers and annotation tools show them.
"""

import hashlib
import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.sources.datasets.base import CorruptImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

_ORIENTATION = 0x0112
_LYING = {5, 6, 7, 8}
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""What makes a picture upright, by EXIF's orientation (CIPA DC-008, section 4.6.4)."""

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif"}


def decode(file: Path) -> "Image":
    """Return the whole image, upright.

    Raises:
        CorruptImageError: It cannot be decoded.
    """
    from PIL import Image

    with _named(file), Image.open(file) as image:
        image.load()
        turn = _TURNS.get(_orientation(image))
        return image.copy() if turn is None else image.transpose(Image.Transpose[turn])


def digest(file: Path) -> bytes:
    """Hash the file's bytes and decode it once; JPEG at 1/8 scale still reads every byte.

    Raises:
        CorruptImageError: It cannot be decoded.
    """
    from PIL import Image

    with _named(file):
        data = file.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            image.draft(None, (1, 1))
            image.load()
    return hashlib.blake2b(data, digest_size=16).digest()


def size(file: Path) -> tuple[int, int]:
    """Return height and width of the upright picture, from the file's head.

    Raises:
        CorruptImageError: There is no such file, or it is no image.
    """
    from PIL import Image

    with _named(file), Image.open(file) as image:
        lies = _orientation(image) in _LYING
        return (image.width, image.height) if lies else (image.height, image.width)


def lies(file: Path) -> bool:
    """Return whether the picture is stored on its side.

    Raises:
        CorruptImageError: The file's head cannot be read.
    """
    from PIL import Image

    with _named(file), Image.open(file) as image:
        return _orientation(image) in _LYING


def upright(file: Path, xyxy: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Turn boxes with their picture.

    Args:
        file: The picture.
        xyxy: Corners in pixels as they are stored ``(n, 4)``.

    Returns:
        Corners in pixels of the upright picture ``(n, 4)``.

    Raises:
        CorruptImageError: The file's head cannot be read.
    """
    from PIL import Image

    with _named(file), Image.open(file) as image:
        width, height, turn = image.width, image.height, _orientation(image)
    x1, y1, x2, y2 = xyxy.T
    if turn in {2, 3, 7, 8}:
        x1, x2 = width - x2, width - x1
    if turn in {3, 4, 6, 7}:
        y1, y2 = height - y2, height - y1
    found = (y1, x1, y2, x2) if turn in _LYING else (x1, y1, x2, y2)
    return np.stack(found, axis=1)


def _orientation(image: "Image") -> int:
    """Return EXIF's number, 1 where there is none or it cannot be read."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (OSError, SyntaxError, TypeError, ValueError, struct.error):
        return 1


@contextmanager
def _named(file: Path) -> Iterator[None]:
    from PIL import UnidentifiedImageError

    try:
        yield
    except FileNotFoundError as error:
        raise CorruptImageError(f"{file}: no such file") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise CorruptImageError(f"{file}: {error}") from error
