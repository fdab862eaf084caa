"""Read images and boxes in COCO's form."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from squeeze.core import reading
from squeeze.core.errors import InputError
from squeeze.data.annotations import segments
from squeeze.data.annotations.base import AnnotatedFiles, annotated
from squeeze.data.annotations.image import ImageAnnotations
from squeeze.recipe.schema import DataSource

_PARTS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class _Annotation:
    """An entry of ``annotations`` with a box; ``crowd`` and ``area`` as they stand there."""

    number: int
    category: int
    box: Sequence[float]
    crowd: object
    area: object


def open_samples(source: DataSource, folder: Path, split: str) -> AnnotatedFiles:
    """Read the JSON file; every image that it lists is a sample, with boxes or without.

    Raises:
        InputError: Broken JSON; entries that lack something, repeat an id or name one that is not
            there; bad boxes; unknown classes.
    """
    del split
    file = folder / str(source.annotations)
    content, where = _read(file), reading.shortened(file)
    images = _by_id(content["images"], "images", "file_name", where)
    categories = _by_id(content["categories"], "categories", "name", where)
    names = {number: _name(found, where) for number, found in sorted(categories.items())}
    twice = next((name for name, n in Counter(names.values()).items() if n > 1), None)
    if twice is not None:
        raise InputError(f"has two categories named '{reading.shortened(twice)}'", where=where)
    boxes, drawn = _by_image(content["annotations"], images, names, where)
    root = folder / str(source.path)
    annotations = [
        _annotations(root, found, boxes[number], names, where) for number, found in images.items()
    ]
    note = f"{drawn} annotations without a box have the one around their outline"
    notes = (note,) if drawn else ()
    return annotated(annotations, list(names.values()), source, where=where, notes=notes)


def _read(file: Path) -> dict[str, list[object]]:
    content = reading.json_value(file)
    parts = content if isinstance(content, dict) else {}
    for part in _PARTS:
        if not isinstance(parts.get(part), list):
            raise InputError(
                f"has no list '{part}', which COCO's format requires", where=reading.shortened(file)
            )
    return {part: parts[part] for part in _PARTS}


def _by_id(entries: list[object], part: str, key: str, file: str) -> dict[int, dict[str, object]]:
    found: dict[int, dict[str, object]] = {}
    for position, entry in enumerate(entries):
        place = f"{part}[{position}]"
        if not isinstance(entry, dict) or not {"id", key} <= set(entry):
            raise InputError(f"{place} needs 'id' and '{key}'", where=file)
        number = entry["id"]
        if type(number) is not int:
            raise InputError(
                f"{place} has id {_shown(number)}, expected a whole number", where=file
            )
        if number in found:
            raise InputError(f"{place} repeats id {number} in '{part}'", where=file)
        found[number] = entry
    return found


def _by_image(
    entries: list[object], images: Collection[int], names: Collection[int], file: str
) -> tuple[dict[int, list[_Annotation]], int]:
    """Return the annotations of every image, all with a box, and how many had none of their own.

    Raises:
        InputError: One points to nothing, or has neither box nor outline.
    """
    found: dict[int, list[_Annotation]] = defaultdict(list)
    drawn = 0
    for number, entry in _by_id(entries, "annotations", "image_id", file).items():
        place = f"annotation {number}"
        image, category = entry["image_id"], entry.get("category_id")
        if type(image) is not int or image not in images:
            what = f"{place} names image {_shown(image)}, which 'images' lacks"
            raise InputError(what, where=file)
        if type(category) is not int or category not in names:
            raise InputError(
                f"{place} names category {_shown(category)}, which 'categories' lacks; "
                f"it has {', '.join(map(str, list(names)[:20]))}",
                where=file,
            )
        whole = entry if entry.get("bbox") else _outlined(entry, place, file)
        drawn += whole is not entry
        box = whole["bbox"]
        if not isinstance(box, list) or [type(n) in {int, float} for n in box] != [True] * 4:
            raise InputError(
                f"{place} has bbox {_shown(box)}, expected [left, top, width, height]", where=file
            )
        crowd = entry.get("iscrowd", 0)
        found[image].append(_Annotation(number, category, box, crowd, whole.get("area")))
    return found, drawn


def _outlined(entry: dict[str, object], place: str, file: str) -> dict[str, object]:
    """Return an annotation with the box around its outline, and its area where it has none."""
    found = segments.around(entry.get("segmentation"))
    if found is None:
        raise InputError(
            f"{place} has no 'bbox', and no 'segmentation' (polygons or runs) to draw one around",
            where=file,
        )
    (left, top, right, bottom), area = found
    return {"area": area} | entry | {"bbox": [left, top, right - left, bottom - top]}


def _annotations(
    root: Path,
    image: dict[str, object],
    entries: Sequence[_Annotation],
    names: dict[int, str],
    where: str,
) -> ImageAnnotations:
    boxes = np.array([entry.box for entry in entries], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    name = image["file_name"]
    if not isinstance(name, str) or not name:
        what = f"image {image['id']} has file_name {_shown(name)}, expected a text"
        raise InputError(what, where=where)
    inner = PurePosixPath(name)
    if inner.is_absolute() or ".." in inner.parts:
        raise InputError(
            f"image {image['id']} is '{reading.shortened(inner)}', which leads out of the folder",
            where=where,
            hint="file_name is a path inside 'path'",
        )
    return ImageAnnotations(
        root / inner,
        boxes,
        [names[entry.category] for entry in entries],
        np.array([_is_crowd(entry, where) for entry in entries], np.bool_),
        np.array([_area(entry.area) for entry in entries], np.float64),
        [f"annotation {entry.number}" for entry in entries],
        _size(image),
    )


def _name(category: dict[str, object], where: str) -> str:
    name = category["name"]
    if type(name) not in {str, int}:
        what = f"category {category['id']} has name {_shown(name)}, expected a text"
        raise InputError(what, where=where)
    return str(name)


def _size(image: dict[str, object]) -> tuple[int, int] | None:
    """Return height and width; tools that do not know them leave them out or write 0 or -1."""
    height, width = image.get("height"), image.get("width")
    if type(height) is int and type(width) is int and height > 0 and width > 0:
        return height, width
    return None


def _is_crowd(entry: _Annotation, where: str) -> bool:
    if entry.crowd in (0, 1, "0", "1", None):
        return entry.crowd in (1, "1")
    raise InputError(
        f"annotation {entry.number} has iscrowd {_shown(entry.crowd)}, expected 0 or 1", where=where
    )


def _area(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return np.nan
    return float(value)


def _shown(value: object) -> str:
    return reading.shortened(repr(value))
