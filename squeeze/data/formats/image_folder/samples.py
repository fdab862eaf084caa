"""Find the images of a folder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.core import reading
from squeeze.core.errors import InputError
from squeeze.data import folders, image_files
from squeeze.data.samples import Samples
from squeeze.recipe.schema import DataSource

if TYPE_CHECKING:
    from squeeze.data.folders import Listing
    from squeeze.data.samples import Picture


_SETS = {"train", "training", "val", "valid", "validation", "test", "testing", "trainval"}
_SPLIT_IN = 2


@dataclass(frozen=True, eq=False)
class FolderSamples:
    """Image files and their labels."""

    files: Sequence[tuple[Path, int]]
    classes: Sequence[str]
    skipped: tuple[str, ...] = ()
    _several_frames: list[Path] = field(default_factory=list, repr=False)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was not read; complete once every image was read."""
        return (*self.skipped, *image_files.frame_notes(self._several_frames))

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
        return image_files.digest(self.files[index][0], self._several_frames)


def open_samples(source: DataSource, folder: Path, split: str) -> Samples:
    """List the images.

    Raises:
        InputError: No sub-folders, no images in them, or sets in the place of classes.
    """
    del split
    root = folder / str(source.path)
    where = reading.shortened(root)
    beside = folders.look_through(root, deep=False)
    classes = folders.sub_folders(root)
    if not classes:
        beside_them = f", and {len(beside.files)} images lie in it" if beside.files else ""
        raise InputError(
            f"has no sub-folders{beside_them}; an image folder has one per class", where=where
        )
    listings = {name: folders.look_through(root / name) for name in classes}
    _refuse_sets(root, listings)
    whole = folders.Listing(others=beside.others, hidden=beside.hidden)
    for listing in listings.values():
        whole.add(listing)
    if not whole.files:
        others = f", only other files ({whole.kinds()})" if whole.others else ""
        raise InputError(
            f"has {len(classes)} class folders but no images in them{others}",
            where=where,
            hint=f"images that are read: {' '.join(sorted(image_files.SUFFIXES))}",
        )
    files = [
        (file, label) for label, listing in enumerate(listings.values()) for file in listing.files
    ]
    notes = whole.skipped()
    if beside.files:
        notes = (f"{len(beside.files)} images lie beside the class folders, unread", *notes)
    return FolderSamples(files, classes, notes)


def _refuse_sets(root: Path, listings: "dict[str, Listing]") -> None:
    """Refuse a folder of sets, each with classes in it: ``train`` is the name of no class there."""
    sets = [name for name in listings if name.lower() in _SETS]
    deep = [
        name
        for name in sets
        if listings[name].files and all(f.parent != root / name for f in listings[name].files)
    ]
    if len(deep) >= _SPLIT_IN or (sets and len(sets) == len(listings)):
        raise InputError(
            f"holds sets ({', '.join(sets)}), not classes",
            where=reading.shortened(root),
            hint=f"name one of them: path: {root / sets[0]}",
        )
