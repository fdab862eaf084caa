"""A folder with one sub-folder per class; sorted folder names give the class indices."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.core.errors import InputError
from squeeze.recipe.schema import DataSource
from squeeze.sources import image_files
from squeeze.sources.datasets.base import Samples

if TYPE_CHECKING:
    from squeeze.sources.datasets.base import Picture


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
        return image_files.decode(self.files[index][0])

    def digest(self, index: int) -> bytes:
        """Hash the file's bytes and decode it once."""
        return image_files.digest(self.files[index][0])


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
        if file.suffix.lower() in image_files.SUFFIXES and file.is_file()
    ]
    if not files:
        raise InputError(f"has {len(classes)} class folders but no images in them", where=str(root))
    return FolderSamples(files, classes)
