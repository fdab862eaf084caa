"""What every dataset format gives: images with a label or boxes, and a content hash each."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from squeeze.core.boxes import Boxes
from squeeze.core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    Picture = Image | NDArray[np.uint8] | NDArray[np.float32]
    """A sample's image, as a format gives it."""

    Pixels = NDArray[np.uint8 | np.float32]
    """An image as an array: uint8, or float32 where it came already preprocessed."""

    Labels = NDArray[np.int64] | list[Boxes]
    """Of several samples: class indices ``(n,)``, or boxes in pixels of the input."""

    Batch = tuple[NDArray[np.float32], Labels]
    """Model inputs ``(n, C, H, W)`` and their labels."""


class CorruptImageError(InputError):
    """An image that cannot be decoded; the message names it."""


class Samples(Protocol):
    """Labelled images in a fixed order."""

    @property
    def classes(self) -> Sequence[str]:
        """Class names; a label is an index into them."""
        ...

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def name(self, index: int) -> str:
        """Return what messages call the sample."""
        ...

    def label(self, index: int) -> int | Boxes:
        """Return the class index, or the ``Boxes`` in pixels of the picture."""
        ...

    def picture(self, index: int) -> "Picture":
        """Return a PIL image, a uint8 array ``(H, W[, C])``, or a float array ``(C, H, W)``.

        A float array is taken as already preprocessed.

        Raises:
            CorruptImageError: It cannot be decoded.
        """
        ...

    def digest(self, index: int) -> bytes:
        """Return a hash of the sample's content, after making sure that it can be decoded.

        Raises:
            CorruptImageError: It cannot be decoded.
        """
        ...


class BoxedSamples(Samples, Protocol):
    """Images with boxes around their objects: what detection learns from."""

    def label(self, index: int) -> Boxes:
        """Return the boxes in pixels of the picture."""
        ...

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of the picture, without decoding it where that is possible.

        Raises:
            CorruptImageError: It cannot be read.
        """
        ...


@dataclass(frozen=True)
class ArraySamples:
    """Samples that are already in memory: images ``(N, H, W[, C])`` uint8, labels ``(N,)``."""

    images: "NDArray[np.uint8]"
    labels: "NDArray[np.int64]"
    classes: Sequence[str]
    source: str

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise InputError(
                f"has {len(self.images)} images and {len(self.labels)} labels", where=self.source
            )

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        """Return the source and index."""
        return f"{self.source}[{index}]"

    def label(self, index: int) -> int:
        """Return the class index."""
        return int(self.labels[index])

    def picture(self, index: int) -> "Picture":
        """Return the uint8 array."""
        pixels: NDArray[np.uint8] = self.images[index]
        return pixels

    def digest(self, index: int) -> bytes:
        """Return a hash of the pixels."""
        return content_hash(self.images[index])


def content_hash(pixels: "NDArray[np.generic]") -> bytes:
    """Hash an array's shape, type and bytes."""
    head = f"{pixels.shape}{pixels.dtype}".encode()
    return hashlib.blake2b(head + np.ascontiguousarray(pixels).tobytes(), digest_size=16).digest()
