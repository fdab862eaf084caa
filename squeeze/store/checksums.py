"""SHA-256 of what was written, so that damage and changes are found before it is used again."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from squeeze.core import reading
from squeeze.core.errors import InputError
from squeeze.store.writing import write_text

SUMS = "SHA256SUMS"
"""A file that ``sha256sum -c`` reads, in the folder whose files it lists."""

_LINE = re.compile(r"([0-9a-f]{64})  ([^\0]+)")


def of_file(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_plain(content: object) -> str:
    """Return the SHA-256 of plain data; a round trip through a JSON file does not change it."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def of_files(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """Return the SHA-256 of files by their path from ``folder``."""
    return {path.relative_to(folder).as_posix(): of_file(path) for path in sorted(files)}


def write_sums(folder: Path, files: Iterable[Path], *, place: Path | None = None) -> None:
    """Write the SHA-256 of some of a folder's files into ``SHA256SUMS`` there.

    Args:
        folder: Where the paths in the file start.
        files: What to list.
        place: The folder that the file goes to; ``folder`` when None.
    """
    lines = (f"{digest}  {name}\n" for name, digest in of_files(folder, files).items())
    write_text((place or folder) / SUMS, "".join(lines))


def read_sums(folder: Path) -> dict[str, str] | None:
    """Return what ``write_sums`` wrote; None where it wrote nothing.

    Raises:
        InputError: It is damaged, or lists what is not inside the folder.
    """
    path = folder / SUMS
    if not (path.exists() or path.is_symlink()):
        return None
    try:
        lines = reading.text(path).split("\n")
    except InputError as error:
        raise _damaged(path) from error
    found = [_LINE.fullmatch(line) for line in lines if line]
    sums = {line[2]: line[1] for line in found if line is not None}
    if None in found or any(_leads_out(name) for name in sums):
        raise _damaged(path)
    return sums


def _damaged(path: Path) -> InputError:
    return InputError("is damaged", where=str(path), hint="remove it")


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts


def faults(folder: Path, expected: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with a folder's files: ``<name> is missing`` and the like."""
    for name, digest in expected.items():
        path = folder / name
        if path.exists() and not (path.is_file() or path.is_dir()):
            yield f"{name} is a pipe or a device, not a file"  # reading it may never end
            continue
        try:
            found = of_file(path)
        except FileNotFoundError:
            yield f"{name} is missing"
        except OSError as error:
            yield f"{name} cannot be read: {error.strerror}"
        else:
            if found != digest:
                yield f"{name} is damaged or was changed: its SHA-256 is not the recorded one"
