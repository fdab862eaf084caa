"""Read images and a text file of boxes each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from squeeze.core import reading
from squeeze.core.errors import InputError
from squeeze.data import folders, image_files
from squeeze.data.annotations import yolo_rows, yolo_yaml
from squeeze.data.annotations.base import AnnotatedFiles, annotated
from squeeze.data.annotations.image import ImageAnnotations
from squeeze.data.annotations.yolo_rows import Rows
from squeeze.data.samples import CorruptImageError
from squeeze.recipe.schema import DataSource

_SETS = {"train": ("train",), "validation": ("val", "valid", "validation")}
_YAML = {".yaml", ".yml"}


@dataclass
class _Pairs:
    """Image and label file of every sample, and notes on how they were found."""

    files: list[tuple[Path, Path]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def open_samples(source: DataSource, folder: Path, split: str) -> AnnotatedFiles:
    """Find images and label files, and read the latter.

    Raises:
        InputError: No images; lines that are no boxes; class numbers without a name; bad boxes;
            a ``data.yaml`` that names what is not there.
    """
    root = folder / str(source.path)
    file = root if root.suffix in _YAML and reading.is_file(root) else yolo_yaml.find(root)
    root = root.parent if file == root else root
    described = None if file is None else yolo_yaml.read(file)
    pairs = _pairs(root, described, source.image_set, split)
    if not pairs.files:
        raise InputError("has no images", where=reading.shortened(root))
    names = _names(root, described, source.classes)
    keypoints = 0 if described is None else described.keypoints()
    read = [(image, yolo_rows.read(label, keypoints)) for image, label in pairs.files]
    rows = [one for _, one in read]
    yolo_rows.refuse_doubtful(rows)
    if names is None:
        most = max((int(one.classes.max()) for one in rows if len(one)), default=-1)
        names = [str(number) for number in range(most + 1)]
    bare = sum(not reading.is_file(one.file) for one in rows)
    drawn = sum(one.outlines for one in rows)
    counts = {
        f"{bare} of {len(rows)} images have no label file: they count as without objects": bare,
        f"{drawn} outlines have the box around them": drawn,
    }
    annotations = [_annotations(image, one, names) for image, one in read]
    return annotated(
        annotations,
        names,
        source,
        where=reading.shortened(root),
        notes=(*pairs.notes, *(note for note, count in counts.items() if count)),
    )


def _pairs(
    root: Path, described: yolo_yaml.YoloYaml | None, asked: str | None, split: str
) -> _Pairs:
    """Return image and label file of every sample."""
    sets = (asked,) if asked else _SETS[split]
    found = _Pairs()
    if described is not None:
        found.notes += described.notes
        root = described.folder
        for place in described.images(sets):
            _add_place(found, root, place)
        if found.files:
            return found
    for name in sets:
        for images, labels in (
            (root / "images" / name, root / "labels" / name),
            (root / name / "images", root / name / "labels"),
        ):
            if reading.is_folder(images):
                _add_folder(found, images, labels)
                return found
        listing = root / name if name.endswith(".txt") else root / f"{name}.txt"
        if reading.is_file(listing):
            _add_listed(found, root, listing)
            return found
    if asked is None and (root / "images").is_dir():
        _add_folder(found, root / "images", root / "labels")
        return found
    raise InputError(
        f"has neither images/{sets[0]} nor {sets[0]}/images nor {sets[0]}.txt",
        where=reading.shortened(root),
        hint="name the part by 'image_set'",
    )


def _add_place(found: _Pairs, root: Path, place: Path) -> None:
    """Add the images of a folder or list that ``data.yaml`` names."""
    inner = place.relative_to(root) if place.is_relative_to(root) else place
    if reading.is_file(place):
        _add_listed(found, root, place)
    elif "images" in inner.parts:
        _add_folder(found, place, _in_labels(place))
    elif reading.is_folder(place / "images"):
        _add_folder(found, place / "images", place / "labels")
    elif "images" in place.parts and reading.is_folder(_in_labels(place)):
        _add_folder(found, place, _in_labels(place))
    else:  # a folder above the set may be called images as well
        _add_folder(found, place, place)


def _add_folder(found: _Pairs, images: Path, labels: Path) -> None:
    listing = folders.look_through(images)
    pairs = [
        (file, labels / file.relative_to(images).with_suffix(".txt")) for file in listing.files
    ]
    known = {label for _, label in pairs}
    there = folders.look_through(labels, _is_label).files if reading.is_folder(labels) else []
    # a label file without image names one that is missing: it is a sample that cannot be read
    lost = [
        (images / label.relative_to(labels).with_suffix(".jpg"), label)
        for label in there
        if label not in known
    ]
    if labels == images:
        listing.others.pop(".txt", None)
    found.files += pairs + lost
    found.notes += listing.skipped()


def _add_listed(found: _Pairs, root: Path, listing: Path) -> None:
    entries = reading.lines(listing)
    for text, count in Counter(text for _, text in entries).items():
        if count > 1:
            where = reading.shortened(listing)
            raise InputError(f"lists '{reading.shortened(text)}' more than once", where=where)
    for number, text in entries:
        image = root / text
        beside = listing.parent / text
        if not reading.exists(image) and reading.exists(beside):
            image = beside
        if not image.name or reading.is_folder(image):
            where = f"{reading.shortened(listing)}:{number}"
            raise InputError(f"found '{reading.shortened(text)}', expected an image", where=where)
        found.files.append((image, _label_of(image)))


def _label_of(image: Path) -> Path:
    if "images" in image.parts:
        label = _in_labels(image).with_suffix(".txt")
        if reading.is_file(label):
            return label
    return image.with_suffix(".txt")


def _in_labels(path: Path) -> Path:
    """Return a path with its last folder ``images`` renamed ``labels``."""
    parts = list(path.parts)
    parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts)


def _is_label(path: Path) -> bool:
    return path.suffix == ".txt" and path.name != "classes.txt"


def _names(
    root: Path, described: yolo_yaml.YoloYaml | None, classes: Sequence[str] | None
) -> list[str] | None:
    """Return the names of class numbers: the files' own, else the recipe's, or None."""
    names = None if described is None else described.names()
    texts = (root / "classes.txt", *sorted(root.glob("*.names")))
    if described is None:
        names = next((_listed_names(file) for file in texts if reading.is_file(file)), None)
    if names is None and classes:
        return list(classes)
    if names is None and described is not None:
        raise InputError(
            "has no 'names': a list, or a mapping from 0, 1, … to names",
            where=described.source.where(()),
        )
    return names


def _listed_names(file: Path) -> list[str]:
    """Return the names in a file, one a line.

    Raises:
        InputError: A line between them is blank, which would shift their numbers; two are equal.
    """
    where = reading.shortened(file)
    found = reading.lines(file)
    for number, (line, _) in enumerate(found, 1):
        if line != number:
            raise InputError("is blank, expected a class name", where=f"{where}:{number}")
    twice = next((name for name, n in Counter(text for _, text in found).items() if n > 1), None)
    if twice is not None:
        raise InputError(f"names two classes '{reading.shortened(twice)}'", where=where)
    return [text for _, text in found]


def _annotations(image: Path, rows: Rows, names: Sequence[str]) -> ImageAnnotations:
    label, count = rows.file, len(rows)
    for number, line in zip(rows.classes.tolist(), rows.lines.tolist(), strict=True):
        if number >= len(names):
            raise InputError(
                f"found class {number}, but there are {len(names)} names (0 to {len(names) - 1})",
                where=f"{label}:{line}",
                hint="name all classes in the recipe's 'classes' or in data.yaml",
            )
    try:
        size = image_files.size(image) if count else (1, 1)
    except CorruptImageError:
        size = (1, 1)  # reading it will say so
    sides = np.array([size[1], size[0]], np.float64)
    centres, halves = rows.shares[:, :2] * sides, rows.shares[:, 2:] * sides / 2
    return ImageAnnotations(
        image,
        np.hstack([centres - halves, centres + halves]),
        [names[number] for number in rows.classes.tolist()],
        np.zeros(count, np.bool_),
        np.full(count, np.nan),
        [f"{label.name}:{line}" for line in rows.lines.tolist()],
    )
