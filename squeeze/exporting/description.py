"""What is written about a file: in the JSON beside it, inside it, or in a bundle's record."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from squeeze.core import reading
from squeeze.core.errors import InputError

if TYPE_CHECKING:
    from squeeze.core.detector import DetectorSpec
    from squeeze.exporting.file_record import FileRecord

LAYOUTS = ("NCHW", "NHWC")


@dataclass(frozen=True)
class FileDescription:
    """What a file says of itself.

    Attributes:
        values: Those of its input; empty where nothing is written about it.
        source: Where that is written, in words.
        layout: ``NCHW`` or ``NHWC``.
        detector: How a detector's outputs are read.
        ends_at_boxes: Whether decoding and suppression are inside.
        classes: Names of its outputs.
        warnings: Where two descriptions disagree.
        is_written: Whether anybody wrote about the file.
    """

    values: dict[str, object]
    source: str
    layout: str | None = None
    detector: "DetectorSpec | None" = None
    ends_at_boxes: bool = False
    classes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    is_written: bool = True


def described(path: Path, *, is_bundle: bool, remedy: str) -> FileDescription:
    """Return what the file's description says: the one beside it if there is one.

    Args:
        path: A file, or a bundle's folder.
        is_bundle: Which of them.
        remedy: What to do about a damaged one, in the caller's terms.

    Raises:
        InputError: A description is damaged.
    """
    from squeeze.exporting import embedded, file

    record = path / "architecture.json" if is_bundle else file.description_of(path)
    plain = _read(record, remedy) if record.is_file() else None
    inside = None if is_bundle else embedded.read(path)
    if plain is not None:
        found = _of_record(plain, record, record.name, remedy)
        differing = [] if inside is None else _differing(plain, inside)
        if not differing:
            return found
        warning = (
            f"{path}: {record.name} and the description inside the file disagree "
            f"({'; '.join(differing)}); {record.name} is used: remove it to use the one inside"
        )
        return replace(found, warnings=(warning,))
    if inside is not None:
        return _of_record(inside, path, "the description inside the file", remedy)
    return FileDescription({}, "defaults", is_written=False)


def _read(record: Path, remedy: str) -> "FileRecord":
    """Return a record as it stands there; ``_of_record`` finds out what is wrong with it."""
    try:
        found = reading.json_value(record)
    except InputError as error:
        raise InputError(f"is damaged: {error.what}", where=error.where, hint=remedy) from error
    if not isinstance(found, dict):
        raise InputError("is damaged: it holds no mapping", where=str(record), hint=remedy)
    return cast("FileRecord", found)


def _of_record(plain: "FileRecord", place: Path, source: str, remedy: str) -> FileDescription:
    from squeeze.core.detector import DetectorSpec

    try:
        detector = plain.get("detector")
        spec = None if detector is None else DetectorSpec.of_json(detector)
        layout = plain.get("layout")
        layout = layout if layout in LAYOUTS else None
        classes = tuple(str(name) for name in plain.get("classes", ()))
        ends_at_boxes = "detections" in plain
        return FileDescription(dict(plain["input"]), source, layout, spec, ends_at_boxes, classes)
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(place, error, remedy) from error


def _damaged(record: Path, error: Exception, remedy: str) -> InputError:
    return InputError(
        f"is damaged: {type(error).__name__}: {error}",
        where=str(record),
        hint=remedy,
    )


def _differing(beside: "FileRecord", inside: "FileRecord") -> list[str]:
    """Return what two descriptions say differently, in words."""
    pair = [dict(each.get("input") or {}) for each in (beside, inside)]
    names = sorted(pair[0].keys() | pair[1].keys())
    found = [
        f"{name} {pair[0].get(name, 'not given')} beside, {pair[1].get(name, 'not given')} inside"
        for name in names
        if pair[0].get(name) != pair[1].get(name)
    ]
    others = ("layout", "detector", "detections", "classes")
    return found + [name for name in others if beside.get(name) != inside.get(name)]
