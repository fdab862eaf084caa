"""Image files on disk: decode one, hash one, look only at its head."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.sources.datasets.base import CorruptImageError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif"}


def decode(file: Path) -> "Image":
    """Return the whole image.

    Raises:
        CorruptImageError: It cannot be decoded.
    """
    from PIL import Image

    with _named(file), Image.open(file) as image:
        image.load()
        return image.copy()


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
    """Return height and width, from the file's head.

    Raises:
        CorruptImageError: There is no such file, or it is no image.
    """
    from PIL import Image

    with _named(file), Image.open(file) as image:
        return image.height, image.width


@contextmanager
def _named(file: Path) -> Iterator[None]:
    from PIL import UnidentifiedImageError

    try:
        yield
    except FileNotFoundError as error:
        raise CorruptImageError(f"{file}: no such file") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise CorruptImageError(f"{file}: {error}") from error
