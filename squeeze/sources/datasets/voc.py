"""A folder in Pascal VOC's form: ``JPEGImages``, an XML file each in ``Annotations``, and lists.

Corners are counted in pixels from 1, both ends included, so that a box over a whole picture of
640 x 480 reads 1, 1, 640, 480. Objects marked difficult are ignored, as in VOC's own evaluation.
Source: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf, section 4.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from squeeze.core.errors import InputError, unknown_name
from squeeze.recipe.schema import DataSource
from squeeze.sources import image_files
from squeeze.sources.annotations import voc_xml
from squeeze.sources.annotations.base import AnnotatedFiles, Page, annotated

_LISTS = {"train": "train", "validation": "val"}
_FIRST_PIXEL = 1


def open_samples(source: DataSource, folder: Path, split: str) -> AnnotatedFiles:
    """Read ``ImageSets/Main/NAME.txt``, or all annotations where there are no such lists.

    Raises:
        InputError: Missing folders or lists; XML that cannot be read; bad boxes; unknown classes.
    """
    root = folder / str(source.path)
    for needed in ("Annotations", "JPEGImages"):
        if not (root / needed).is_dir():
            raise InputError(
                f"has no folder '{needed}', which VOC's form asks for", where=str(root)
            )
    stems = _stems(root, source.image_set, _LISTS[split])
    pictures = {
        file.stem: file
        for file in sorted((root / "JPEGImages").iterdir())
        if file.suffix.lower() in image_files.SUFFIXES
    }
    pages = [_page(root, stem, pictures) for stem in stems]
    return annotated(pages, None, source, where=str(root))


def _stems(root: Path, image_set: str | None, usual: str) -> Sequence[str]:
    lists = root / "ImageSets" / "Main"
    if image_set is None and not lists.is_dir():
        return [file.stem for file in sorted((root / "Annotations").glob("*.xml"))]
    name = image_set or usual
    file = lists / f"{name}.txt"
    if not file.is_file():
        known = sorted(path.stem for path in lists.glob("*.txt"))
        raise InputError(
            unknown_name("image_set", name, known),
            where=str(root),
            hint="lists of images are files NAME.txt in ImageSets/Main",
        )
    stems = [line.split()[0] for line in file.read_text().splitlines() if line.strip()]
    if not stems:
        raise InputError("lists no images", where=str(file))
    if len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise InputError(f"lists '{twice}' more than once", where=str(file))
    return stems


def _page(root: Path, stem: str, pictures: dict[str, Path]) -> Page:
    file = root / "Annotations" / f"{stem}.xml"
    if not file.is_file():
        raise InputError(f"has no annotation of the image '{stem}'", where=str(file.parent))
    found = voc_xml.read(file)
    corners = np.array([thing.corners for thing in found.objects], np.float64).reshape(-1, 4)
    solid = (corners[:, 2:] > corners[:, :2]).all(1, keepdims=True)
    # a box without area stays one: moving its first corner would give it a pixel
    corners[:, :2] -= np.where(solid, _FIRST_PIXEL, 0)
    return Page(
        pictures.get(stem, root / "JPEGImages" / found.filename),
        corners,
        [thing.name for thing in found.objects],
        np.array([thing.difficult for thing in found.objects], np.bool_),
        np.full(len(corners), np.nan),
        [f"{file.name}:{thing.line}" for thing in found.objects],
        found.size,
    )
