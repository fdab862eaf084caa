"""A file's description inside the file itself, where it cannot be lost."""

import json
from typing import TYPE_CHECKING, cast

from squeeze.runtimes import runtime
from squeeze.store import new_file

if TYPE_CHECKING:
    from pathlib import Path

    from squeeze.exporting.file_record import FileRecord


def embed_(path: "Path", record: "FileRecord") -> None:
    """Put a record into a file whose type can hold one, in place of one that is there.

    Weights and graph stay as they are; the file appears whole or not at all.

    Args:
        path: The file.
        record: What to say about it.
    """
    found = runtime.of_file(path)
    if found is not None and found.holds_metadata:
        with new_file(path) as inside:
            found.write_metadata(path, inside, json.dumps(record))


def read(path: "Path") -> "FileRecord | None":
    """Return the record inside a file, or None where there is none that can be read."""
    place = runtime.of_file(path)
    if place is None or not place.holds_metadata:
        return None
    try:
        text = place.read_metadata(path)
        found = None if text is None else json.loads(text)
    except Exception:  # noqa: BLE001  (a damaged file is reported by its runtime)
        return None
    return cast("FileRecord", found) if isinstance(found, dict) else None
