"""JSON records that hold their own SHA-256 and the key of the work that they describe."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from squeeze.store import checksums
from squeeze.store.writing import write_text


class DamagedError(Exception):
    """A record, or a file that it lists, is not what was written."""


def write(path: Path, content: Mapping[str, object]) -> Path:
    """Write a record; ``content`` holds the ``key`` of its work."""
    return write_text(
        path, json.dumps({**content, "sha256": checksums.of_plain(content)}, indent=1)
    )


def read(path: Path, key: str) -> dict[str, Any] | None:
    """Return a record, as it was written, if it is of this work, else None.

    Raises:
        DamagedError: It is not what was written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content.pop("sha256", None)
        if found is None and content.get("key") != key:  # of a version that kept no checksums
            return None
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise DamagedError(f"{path.name} is damaged: {error}") from error
    if found != checksums.of_plain(content):
        raise DamagedError(
            f"{path.name} is damaged or was changed: its SHA-256 is not the recorded one"
        )
    return content if content["key"] == key else None
