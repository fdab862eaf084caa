"""Images and a text file each: ``class centre_x centre_y width height``, as shares of the sides.

An outline ``class x y x y x y …`` of three corners or more gets the box around it.
``images/train/a.jpg`` goes with ``labels/train/a.txt``, ``train/images/a.jpg`` with
``train/labels/a.txt``; in a list of images, Darknet's way, a label file may lie beside its image.
An image without a label file has no objects. Class names come from the recipe's ``classes``,
``data.yaml``, ``classes.txt`` or ``*.names``; else the classes are numbered.
Source: https://docs.ultralytics.com/datasets/detect
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml

from squeeze.core.errors import InputError
from squeeze.recipe.schema import DataSource
from squeeze.sources import image_files
from squeeze.sources.annotations.base import AnnotatedFiles, Page, annotated
from squeeze.sources.datasets.base import CorruptImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SETS = {"train": ("train",), "validation": ("val", "valid", "validation")}
_COLUMNS = 5
_OUTLINE = _COLUMNS
"""The column that says whether a box was drawn around an outline; the line's number is last."""
_LEAST_OUTLINE = 7


def open_samples(source: DataSource, folder: Path, split: str) -> AnnotatedFiles:
    """Find images and label files, and read the latter.

    Raises:
        InputError: No images; lines that are no boxes; class numbers without a name; bad boxes.
    """
    root = folder / str(source.path)
    sets = (source.image_set,) if source.image_set else _SETS[split]
    pairs = _pairs(root, sets, source.image_set)
    if not pairs:
        raise InputError("has no images", where=str(root))
    names = list(source.classes) if source.classes else _names(root)
    read = [(image, label, _lines(label)) for image, label in pairs]
    if names is None:
        numbers = [int(lines[:, 0].max()) for _, _, lines in read if len(lines)]
        names = [str(number) for number in range(max(numbers, default=-1) + 1)]
    bare = sum(not label.is_file() for _, label in pairs)
    drawn = sum(int(lines[:, _OUTLINE].sum()) for _, _, lines in read)
    notes = {
        f"{bare} of {len(pairs)} images have no label file: they count as without objects": bare,
        f"{drawn} outlines have the box around them": drawn,
    }
    told = tuple(note for note, count in notes.items() if count)
    pages = [_page(image, label, lines, names) for image, label, lines in read]
    return annotated(pages, names, source, where=str(root), notes=told)


def _pairs(root: Path, sets: Sequence[str], asked: str | None) -> list[tuple[Path, Path]]:
    """Return image and label file of every sample."""
    for name in sets:
        for images, labels in (
            (root / "images" / name, root / "labels" / name),
            (root / name / "images", root / name / "labels"),
        ):
            if images.is_dir():
                return _folder(images, labels)
        listing = root / name if name.endswith(".txt") else root / f"{name}.txt"
        if listing.is_file():
            return _listed(root, listing)
    if asked is None and (root / "images").is_dir():
        return _folder(root / "images", root / "labels")
    raise InputError(
        f"has neither images/{sets[0]} nor {sets[0]}/images nor {sets[0]}.txt",
        where=str(root),
        hint="name the part by 'image_set'",
    )


def _folder(images: Path, labels: Path) -> list[tuple[Path, Path]]:
    files = [f for f in sorted(images.rglob("*")) if f.suffix.lower() in image_files.SUFFIXES]
    pairs = [(file, labels / file.relative_to(images).with_suffix(".txt")) for file in files]
    known = {label for _, label in pairs}
    # a label file without image names one that is missing: it is a sample that cannot be read
    lost = [
        (images / label.relative_to(labels).with_suffix(".jpg"), label)
        for label in sorted(labels.rglob("*.txt"))
        if label not in known and label.name != "classes.txt"
    ]
    return pairs + lost


def _listed(root: Path, listing: Path) -> list[tuple[Path, Path]]:
    files = [root / line.strip() for line in listing.read_text().splitlines() if line.strip()]
    return [(file, _label_of(file)) for file in files]


def _label_of(image: Path) -> Path:
    parts = list(image.parts)
    if "images" in parts:
        place = len(parts) - 1 - parts[::-1].index("images")
        parts[place] = "labels"
        label = Path(*parts).with_suffix(".txt")
        if label.is_file():
            return label
    return image.with_suffix(".txt")


def _names(root: Path) -> list[str] | None:
    for file in (root / "data.yaml", root / "dataset.yaml"):
        if file.is_file():
            return _names_in_yaml(file)
    for file in (root / "classes.txt", *sorted(root.glob("*.names"))):
        if file.is_file():
            return [line.strip() for line in file.read_text().splitlines() if line.strip()]
    return None


def _names_in_yaml(file: Path) -> list[str]:
    try:
        content = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"is broken YAML: {error}", where=str(file)) from error
    found = content.get("names") if isinstance(content, dict) else None
    if isinstance(found, dict) and sorted(found) == list(range(len(found))):
        found = [found[number] for number in range(len(found))]
    if not isinstance(found, list):
        raise InputError(
            "has no 'names': a list, or a mapping from 0, 1, … to names", where=str(file)
        )
    return [str(name) for name in found]


def _lines(label: Path) -> "NDArray[np.float64]":
    """Return class number, box, ``_OUTLINE`` and line number of every line ``(n, 7)``."""
    try:
        lines = label.read_text().splitlines() if label.is_file() else []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(label)) from error
    rows = [_row(line, f"{label}:{n}", n) for n, line in enumerate(lines, 1) if line.strip()]
    return np.array(rows, np.float64).reshape(-1, _COLUMNS + 2)


def _row(line: str, where: str, number: int) -> list[float]:
    try:
        values = [float(text) for text in line.split()]
    except ValueError as error:
        raise InputError(f"found '{line.strip()}': {error}", where=where) from None
    is_outline = len(values) >= _LEAST_OUTLINE and len(values) % 2 == 1
    fits = len(values) == _COLUMNS or is_outline
    if not fits or not values[0].is_integer() or values[0] < 0:
        raise InputError(
            f"found '{line.strip()[:60]}', expected a class number and four shares: "
            "class centre_x centre_y width height, or the corners of an outline",
            where=where,
        )
    if max(values[1:]) > 2:  # noqa: PLR2004 - nothing near a share of a side
        raise InputError(
            f"found '{line.strip()}', expected shares of the picture's sides, not pixels",
            where=where,
        )
    if is_outline:
        low_x, high_x, low_y, high_y = (
            end(values[first::2]) for first in (1, 2) for end in (min, max)
        )
        middle = [(low_x + high_x) / 2, (low_y + high_y) / 2]
        values = [values[0], *middle, high_x - low_x, high_y - low_y]
    return [*values, is_outline, number]


def _page(image: Path, label: Path, lines: "NDArray[np.float64]", names: Sequence[str]) -> Page:
    for row in lines:
        if row[0] >= len(names):
            raise InputError(
                f"found class {int(row[0])}, but there are {len(names)} names "
                f"(0 to {len(names) - 1})",
                where=f"{label}:{int(row[-1])}",
                hint="name all classes in the recipe's 'classes' or in data.yaml",
            )
    try:
        size = image_files.size(image) if len(lines) else (1, 1)
    except CorruptImageError:
        size = (1, 1)  # reading it will say so
    sides = np.array([size[1], size[0]], np.float64)
    centres, halves = lines[:, 1:3] * sides, lines[:, 3:5] * sides / 2
    count = len(lines)
    return Page(
        image,
        np.hstack([centres - halves, centres + halves]),
        [names[int(row[0])] for row in lines],
        np.zeros(count, np.bool_),
        np.full(count, np.nan),
        [f"{label.name}:{int(row[-1])}" for row in lines],
    )
