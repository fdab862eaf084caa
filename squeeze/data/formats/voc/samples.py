"""Read images and an XML file of boxes each."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from squeeze.core import reading
from squeeze.core.errors import InputError, unknown_name
from squeeze.data import folders
from squeeze.data.annotations import voc_xml
from squeeze.data.annotations.base import AnnotatedFiles, annotated
from squeeze.data.annotations.image import ImageAnnotations
from squeeze.recipe.schema import DataSource

_LISTS = {"train": "train", "validation": "val"}
_FIRST_PIXEL = 1
_MARK = re.compile(r"\s+-?[01]$")


def open_samples(source: DataSource, folder: Path, split: str) -> AnnotatedFiles:
    """Read ``ImageSets/Main/NAME.txt``, or all annotations where there are no such lists.

    Raises:
        InputError: Missing folders or lists; XML that cannot be read; bad boxes; unknown classes.
    """
    root = folder / str(source.path)
    where = reading.shortened(root)
    for needed in ("Annotations", "JPEGImages"):
        if not reading.is_folder(root / needed):
            raise InputError(f"has no folder '{needed}', which VOC's format requires", where=where)
    stems = _stems(root, source.image_set, _LISTS[split])
    pictures = folders.look_through(root / "JPEGImages", deep=False)
    by_stem = {file.stem: file for file in pictures.files}
    annotations = [_annotations(root, stem, by_stem) for stem in stems]
    return annotated(annotations, None, source, where=where, notes=pictures.skipped())


def _stems(root: Path, image_set: str | None, usual: str) -> Sequence[str]:
    lists = root / "ImageSets" / "Main"
    if image_set is None and not lists.is_dir():
        listing = folders.look_through(root / "Annotations", _is_annotation, deep=False)
        return [file.stem for file in listing.files]
    name = image_set or usual
    file = lists / f"{name}.txt"
    if not reading.is_file(file):
        known = sorted(path.stem for path in lists.glob("*.txt"))
        raise InputError(
            unknown_name("image_set", reading.shortened(name), known),
            where=reading.shortened(root),
            hint="lists of images are files NAME.txt in ImageSets/Main",
        )
    stems = [_stem(root, text, f"{file}:{line}") for line, text in reading.lines(file)]
    if not stems:
        raise InputError("lists no images", where=reading.shortened(file))
    twice = next((stem for stem, count in Counter(stems).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"lists '{twice}' more than once", where=reading.shortened(file))
    return stems


def _stem(root: Path, text: str, where: str) -> str:
    """Return the image's name in a line, which may end in VOC's -1, 0 or 1 of one class.

    Raises:
        InputError: There is no annotation of it.
    """
    for stem in (text, _MARK.sub("", text)):
        if reading.is_file(root / "Annotations" / f"{stem}.xml"):
            return stem
    raise InputError(
        f"has no annotation of the image '{reading.shortened(_MARK.sub('', text))}'", where=where
    )


def _is_annotation(path: Path) -> bool:
    return path.suffix == ".xml"


def _annotations(root: Path, stem: str, pictures: dict[str, Path]) -> ImageAnnotations:
    file = root / "Annotations" / f"{stem}.xml"
    found = voc_xml.read(file)
    corners = np.array([entry.corners for entry in found.objects], np.float64).reshape(-1, 4)
    solid = (corners[:, 2:] > corners[:, :2]).all(1, keepdims=True)
    # a box without area stays one: moving its first corner would give it a pixel
    corners[:, :2] -= np.where(solid, _FIRST_PIXEL, 0)
    return ImageAnnotations(
        pictures.get(stem, root / "JPEGImages" / found.filename),
        corners,
        [entry.name for entry in found.objects],
        np.array([entry.difficult for entry in found.objects], np.bool_),
        np.full(len(corners), np.nan),
        [f"{file.name}:{entry.line}" for entry in found.objects],
        found.size,
    )
