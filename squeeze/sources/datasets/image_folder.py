"""A folder with one sub-folder per class; sorted folder names give the class indices."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.core.errors import InputError
from squeeze.recipe.schema import DataSource
from squeeze.sources.datasets.base import CorruptImageError, Samples

if TYPE_CHECKING:
    from squeeze.sources.datasets.base import Picture

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif"}


@dataclass(frozen=True)
class FolderSamples:
    """Image files and their labels."""

    files: Sequence[tuple[Path, int]]
    classes: Sequence[str]

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        """Return the file's path."""
        return str(self.files[index][0])

    def label(self, index: int) -> int:
        """Return the class index."""
        return self.files[index][1]

    def picture(self, index: int) -> "Picture":
        """Decode the file."""
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(self.files[index][0]) as image:
                image.load()
                return image.copy()
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
            raise CorruptImageError(f"{self.name(index)}: {error}") from error

    def digest(self, index: int) -> bytes:
        """Hash the file's bytes and decode it once; JPEG at 1/8 scale still reads every byte."""
        from PIL import Image, UnidentifiedImageError

        try:
            data = self.files[index][0].read_bytes()
            with Image.open(io.BytesIO(data)) as image:
                image.draft(None, (1, 1))
                image.load()
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
            raise CorruptImageError(f"{self.name(index)}: {error}") from error
        return hashlib.blake2b(data, digest_size=16).digest()


def open_samples(source: DataSource, folder: Path, split: str) -> Samples:
    """List the images.

    Raises:
        InputError: No sub-folders, or no images in them.
    """
    del split
    root = folder / str(source.path)
    if not root.is_dir():
        raise InputError("no such folder", where=str(root))
    classes = sorted(
        child.name for child in root.iterdir() if child.is_dir() and not child.name.startswith(".")
    )
    if not classes:
        raise InputError("has no sub-folders; an image folder has one per class", where=str(root))
    files = [
        (file, label)
        for label, name in enumerate(classes)
        for file in sorted((root / name).rglob("*"))
        if file.suffix.lower() in SUFFIXES and file.is_file()
    ]
    if not files:
        raise InputError(f"has {len(classes)} class folders but no images in them", where=str(root))
    return FolderSamples(files, classes)
