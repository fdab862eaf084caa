"""A folder of images and one JSON file of boxes in COCO's form.

Category ids may be any numbers; class indices follow them in rising order. Crowds are ignored, as
in COCO's own evaluation. An annotation without a box gets the one around its outline.
Source: https://cocodataset.org/#format-data
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from squeeze.core.errors import InputError
from squeeze.recipe.schema import DataSource
from squeeze.sources.annotations import segments
from squeeze.sources.annotations.base import AnnotatedFiles, Page, annotated

_PARTS = ("images", "annotations", "categories")


def open_samples(source: DataSource, folder: Path, split: str) -> AnnotatedFiles:
    """Read the JSON file; every image that it lists is a sample, with boxes or without.

    Raises:
        InputError: Broken JSON; entries that lack something, repeat an id or name one that is not
            there; bad boxes; unknown classes.
    """
    del split
    file = folder / str(source.annotations)
    content = _read(file)
    images = _by_id(content["images"], "images", "file_name", str(file))
    categories = _by_id(content["categories"], "categories", "name", str(file))
    names = {number: str(found["name"]) for number, found in sorted(categories.items())}
    if len(set(names.values())) < len(names):
        twice = next(n for n in names.values() if list(names.values()).count(n) > 1)
        raise InputError(f"has two categories named '{twice}'", where=str(file))
    boxes, drawn = _by_image(content["annotations"], images, names, str(file))
    root = folder / str(source.path)
    pages = [_page(root, found, boxes[number], names, file) for number, found in images.items()]
    note = f"{drawn} annotations without a box have the one around their outline"
    notes = (note,) if drawn else ()
    return annotated(pages, list(names.values()), source, where=str(file), notes=notes)


def _read(file: Path) -> dict[str, list[Any]]:
    try:
        content: Any = json.loads(file.read_bytes())
    except json.JSONDecodeError as error:
        where = f"{file}:{error.lineno}:{error.colno}"
        raise InputError(f"is broken JSON: {error.msg}", where=where) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot be read: {error}", where=str(file)) from error
    for part in _PARTS:
        if not isinstance(content, dict) or not isinstance(content.get(part), list):
            raise InputError(f"has no list '{part}', which COCO's form asks for", where=str(file))
    return {part: content[part] for part in _PARTS}


def _by_id(entries: list[Any], part: str, key: str, file: str) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for position, entry in enumerate(entries):
        place = f"{part}[{position}]"
        if not isinstance(entry, dict) or not {"id", key} <= set(entry):
            raise InputError(f"{place} needs 'id' and '{key}'", where=file)
        number = entry["id"]
        if type(number) is not int:
            raise InputError(f"{place} has id {number!r}, expected a whole number", where=file)
        if number in found:
            raise InputError(f"{place} repeats id {number} in '{part}'", where=file)
        found[number] = entry
    return found


def _by_image(
    entries: list[Any], images: dict[int, Any], names: dict[int, str], file: str
) -> tuple[dict[int, list[dict[str, Any]]], int]:
    """Return the annotations of every image, all with a box, and how many had none of their own.

    Raises:
        InputError: One points to nothing, or has neither box nor outline.
    """
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    drawn = 0
    for number, entry in _by_id(entries, "annotations", "image_id", file).items():
        place = f"annotation {number}"
        image, category = entry["image_id"], entry.get("category_id")
        if image not in images:
            raise InputError(f"{place} names image {image!r}, which 'images' lacks", where=file)
        if category not in names:
            raise InputError(
                f"{place} names category {category!r}, which 'categories' lacks; "
                f"it has {', '.join(map(str, list(names)[:20]))}",
                where=file,
            )
        whole = entry if entry.get("bbox") else _outlined(entry, place, file)
        drawn += whole is not entry
        box = whole["bbox"]
        if not isinstance(box, list) or [type(n) in {int, float} for n in box] != [True] * 4:
            raise InputError(
                f"{place} has bbox {box!r}, expected [left, top, width, height]", where=file
            )
        found[image].append(whole)
    return found, drawn


def _outlined(entry: dict[str, Any], place: str, file: str) -> dict[str, Any]:
    """Return an annotation with the box around its outline, and its area where it has none."""
    found = segments.around(entry.get("segmentation"))
    if found is None:
        raise InputError(
            f"{place} has no 'bbox', and no 'segmentation' (polygons or runs) to draw one around",
            where=file,
        )
    (left, top, right, bottom), area = found
    return {"area": area} | entry | {"bbox": [left, top, right - left, bottom - top]}


def _page(
    root: Path,
    image: dict[str, Any],
    entries: Sequence[dict[str, Any]],
    names: dict[int, str],
    file: Path,
) -> Page:
    boxes = np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    inner = PurePosixPath(str(image["file_name"]))
    if inner.is_absolute() or ".." in inner.parts:
        raise InputError(
            f"image {image['id']} is '{inner}', which leads out of the folder",
            where=str(file),
            hint="file_name is a path inside 'path'",
        )
    height, width = image.get("height"), image.get("width")
    return Page(
        root / inner,
        boxes,
        [names[entry["category_id"]] for entry in entries],
        np.array([bool(entry.get("iscrowd", 0)) for entry in entries], np.bool_),
        np.array([_area(entry.get("area")) for entry in entries], np.float64),
        [f"annotation {entry['id']}" for entry in entries],
        (height, width) if isinstance(height, int) and isinstance(width, int) else None,
    )


def _area(value: object) -> float:
    return float(value) if isinstance(value, int | float) else np.nan
