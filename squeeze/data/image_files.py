"""Image files on disk: decode one, hash one, read only its header.

Phones store pictures as the sensor was held and note in the EXIF data how to turn them. Here they
are turned, as viewers and annotation tools show them.

A picture comes out with 8 bits per channel, grey or RGB. 16-bit grey is scaled from its whole
range, transparency is left out, of several frames the first is taken. Where nothing says which
value is white (floats, 32-bit or signed integers), the file is refused.
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core import reading
from squeeze.data.samples import CorruptImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

_ORIENTATION = 0x0112
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262
_SIDEWAYS = {5, 6, 7, 8}
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

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".webp", ".avif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff", ".gif"}
)

_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "AVIF", "PPM", "TIFF", "GIF")
_GREY = {"1", "L", "LA", "La"}
_WIDE_GREY = {"I;16", "I;16L", "I;16B", "I;16N"}
_NO_WHITE = {
    "F": "floating-point numbers",
    "I": "32-bit or signed integers",
}
"""Pillow's modes without a range: ``convert`` would cut them off at 0 and 255."""


def decode(file: Path) -> "Image":
    """Return the whole image, upright, in Pillow's mode ``L`` or ``RGB``.

    Raises:
        CorruptImageError: It cannot be decoded, is too large, or has no known white.
    """
    from PIL import Image

    with _opened(file) as image:
        image.load()
        turn = _TURNS.get(_orientation(image))
        plain = eight_bit(image)
        return plain.copy() if turn is None else plain.transpose(Image.Transpose[turn])


def digest(file: Path, several_frames: list[Path] | None = None) -> bytes:
    """Hash the file's bytes and decode it once; JPEG at 1/8 scale still reads every byte.

    Args:
        file: The image.
        several_frames: Takes the file in if it holds more frames than the first, which is read.

    Raises:
        CorruptImageError: As for ``decode``.
    """
    with _named(file):
        data = file.read_bytes()
    with _opened(file, data) as image:
        image.draft(None, (1, 1))
        image.load()
        eight_bit(image)
        # a phone's MPO is a picture with another view or a depth map behind it
        if several_frames is not None and image.format != "MPO" and _frames(image) > 1:
            several_frames.append(file)
    return hashlib.blake2b(data, digest_size=16).digest()


def eight_bit(image: "Image") -> "Image":
    """Return an image in mode ``L`` or ``RGB``, its values scaled and never cut off.

    Raises:
        ValueError: Nothing says which of its values is white.
    """
    if image.mode in _WIDE_GREY or (image.mode == "I" and image.format == "PPM"):
        return _scaled(image)  # Pillow brings the 16 bits of PGM to 0 to 65535 too
    if image.mode in _NO_WHITE:
        raise ValueError(
            f"holds {_NO_WHITE[image.mode]}, and nothing says which value is white: save it with "
            "8 or 16 bits per channel"
        )
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # straight to RGB, Pillow warns of what it leaves out
    mode = "L" if image.mode in _GREY else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _scaled(image: "Image") -> "Image":
    """Return wide grey in 8 bits: the largest number is white (PNG specification, section 13.12).

    In TIFF that may be a number of 12 bits, and 0 may be white instead (TIFF 6.0, page 37).
    """
    from PIL import Image

    tags = getattr(image, "tag_v2", {})
    (bits, *_) = tags.get(_BITS_PER_SAMPLE, (16,))
    white = 2**bits - 1
    wide = np.asarray(image).astype(np.uint32)
    narrow = ((wide * 255 + white // 2) // white).clip(0, 255).astype(np.uint8)
    return Image.fromarray(255 - narrow if tags.get(_PHOTOMETRIC) == 0 else narrow)


def size(file: Path) -> tuple[int, int]:
    """Return height and width of the upright picture, from the file's head.

    Raises:
        CorruptImageError: There is no such file, or it is no image.
    """
    with _opened(file) as image:
        sideways = _orientation(image) in _SIDEWAYS
        return (image.width, image.height) if sideways else (image.height, image.width)


def is_sideways(file: Path) -> bool:
    """Return whether the picture is stored on its side.

    Raises:
        CorruptImageError: The file's head cannot be read.
    """
    with _opened(file) as image:
        return _orientation(image) in _SIDEWAYS


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
    with _opened(file) as image:
        width, height, turn = image.width, image.height, _orientation(image)
    x1, y1, x2, y2 = xyxy.T
    if turn in {2, 3, 7, 8}:
        x1, x2 = width - x2, width - x1
    if turn in {3, 4, 6, 7}:
        y1, y2 = height - y2, height - y1
    found = (y1, x1, y2, x2) if turn in _SIDEWAYS else (x1, y1, x2, y2)
    return np.stack(found, axis=1)


def frame_notes(files: Sequence[Path]) -> tuple[str, ...]:
    """Return a note about files of several frames, as ``digest`` collected them."""
    if not files:
        return ()
    first = reading.shortened(min(files))
    return (f"{len(files)} images hold several frames, of which the first is read: {first}",)


def _frames(image: "Image") -> int:
    """Return how many frames there are; 2 where those after the first are damaged."""
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # noqa: BLE001  Pillow raises whatever damaged data leads it into
        return 2


def _orientation(image: "Image") -> int:
    """Return EXIF's number, 1 where there is none or it cannot be read."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001  Pillow raises whatever damaged data leads it into
        return 1


def _formats() -> tuple[str, ...]:
    """Return the formats that this Pillow can read; its others run programs or are no pictures."""
    from PIL import Image

    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@contextmanager
def _opened(file: Path, data: bytes | None = None) -> "Iterator[Image]":
    """Open a file's head; what goes wrong then, or with the image later, names the file."""
    from PIL import Image

    source = file if data is None else io.BytesIO(data)
    with _named(file), Image.open(source, formats=_formats()) as image:
        if not (image.width and image.height):
            raise ValueError(f"has no pixels: it is {image.width} x {image.height}")
        most = Image.MAX_IMAGE_PIXELS
        if most is not None and image.width * image.height > most:
            raise Image.DecompressionBombError
        yield image


@contextmanager
def _named(file: Path) -> Iterator[None]:
    from PIL import Image, UnidentifiedImageError

    name = reading.shortened(file)
    try:
        yield
    except CorruptImageError:
        raise
    except FileNotFoundError as error:
        raise CorruptImageError(f"{name}: no such file") from error
    except UnidentifiedImageError as error:
        raise CorruptImageError(f"{name}: is not an image of a kind that is read") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        what = f"claims more than {Image.MAX_IMAGE_PIXELS:,} pixels, the most that is read"
        raise CorruptImageError(f"{name}: {what}") from error
    except Exception as error:  # Pillow raises whatever a damaged file leads it into
        raise CorruptImageError(f"{name}: {reading.reason(error)}") from error
