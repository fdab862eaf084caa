"""Image files with the boxes around their objects, whatever format those came in."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.core.boxes import Boxes
from squeeze.data import image_files
from squeeze.data.annotations import classes, faults
from squeeze.data.annotations.image import ImageAnnotations
from squeeze.data.samples import CorruptImageError
from squeeze.recipe.schema import DataSource

if TYPE_CHECKING:
    from squeeze.data.samples import Picture


@dataclass(frozen=True, eq=False)
class AnnotatedFiles:
    """Image files and their boxes, as ``BoxedSamples``."""

    files: Sequence[Path]
    boxes: Sequence[Boxes]
    sizes: Sequence[tuple[int, int] | None]
    classes: Sequence[str]
    found: tuple[str, ...]
    _several_frames: list[Path] = field(default_factory=list, repr=False)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed while reading; complete once every image was read."""
        return (*self.found, *image_files.frame_notes(self._several_frames))

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        """Return the file's path."""
        return str(self.files[index])

    def label(self, index: int) -> Boxes:
        """Return the boxes in pixels of the picture."""
        return self.boxes[index]

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of the picture.

        Raises:
            CorruptImageError: The file's head cannot be read.
        """
        known = self.sizes[index]
        return image_files.size(self.files[index]) if known is None else known

    def picture(self, index: int) -> "Picture":
        """Decode the file."""
        return image_files.decode(self.files[index])

    def digest(self, index: int) -> bytes:
        """Hash the file's bytes and decode it once."""
        return image_files.digest(self.files[index], self._several_frames)


def annotated(
    images: Sequence[ImageAnnotations],
    listed: Sequence[str] | None,
    source: DataSource,
    *,
    where: str,
    notes: tuple[str, ...] = (),
) -> AnnotatedFiles:
    """Name the classes, check the boxes, and return what training and measuring read.

    Args:
        images: Of all images.
        listed: Class names that the format itself lists, in order.
        source: The recipe's classes, class map, and rule for bad boxes.
        where: What messages call the set.
        notes: What the format has to say.

    Raises:
        InputError: An unknown class; bad boxes that are not to be repaired.
    """
    names, indices, class_notes = classes.resolve(
        [image.names for image in images], [image.places for image in images], listed, source, where
    )
    with ThreadPoolExecutor(4) as pool:
        sizes = list(pool.map(_size, [image.file for image in images]))
    images = [_upright(image, size) for image, size in zip(images, sizes, strict=True)]
    boxes, repairs = faults.check(images, indices, sizes, rule=source.on_bad_boxes, where=where)
    files = [image.file for image in images]
    return AnnotatedFiles(files, boxes, sizes, names, (*notes, *class_notes, *repairs))


def _upright(image: ImageAnnotations, size: tuple[int, int] | None) -> ImageAnnotations:
    """Turn the boxes of a picture that was annotated as it is stored, and not as it is shown."""
    if size is None or image.size is None or size == image.size or size != image.size[::-1]:
        return image
    if not image_files.is_sideways(image.file):
        return image  # another picture: the check of boxes reports it
    return replace(image, xyxy=image_files.upright(image.file, image.xyxy), size=size)


def _size(file: Path) -> tuple[int, int] | None:
    try:
        return image_files.size(file)
    except CorruptImageError:
        return None  # digest() reports it, by the recipe's rule for corrupt images
