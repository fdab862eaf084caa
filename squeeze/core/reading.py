"""Read the text files that users hand in: bounded in size, decoded alike, errors with their place.

All readers of annotations, lists and recipes use this module. Text is UTF-8, with or without a
byte-order mark. What cannot be read is an ``InputError`` with the file, and the line where there
is one, whatever the operating system, a codec or a parser has raised.
"""

import codecs
import json
import os
from pathlib import Path

from squeeze.core.errors import InputError

KIB, MIB = 2**10, 2**20
YAML_BYTES = 256 * KIB
TEXT_BYTES = 256 * MIB
JSON_BYTES = 4096 * MIB
"""The largest files that are read: a recipe, a list of images, COCO's annotations."""

_LONG = 2**64
_SHOWN, _SHOWN_OF_PATH = 80, 300
_OTHER_TEXT = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def file_bytes(file: Path, limit: int = TEXT_BYTES) -> bytes:
    """Return a file's bytes.

    Args:
        file: What to read.
        limit: The largest number of bytes.

    Raises:
        InputError: There is no such file, it cannot be read, or it is larger.
    """
    where = shortened(file)
    try:
        with file.open("rb") as stream:
            found = stream.read(limit + 1) if _size(stream.fileno()) <= limit else None
    except FileNotFoundError:
        raise InputError("no such file", where=where) from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {reason(error)}", where=where) from error
    if found is None or len(found) > limit:
        raise InputError(too_large(limit), where=where)
    return found


def text(file: Path, limit: int = TEXT_BYTES) -> str:
    """Return a file's text without a byte-order mark.

    Raises:
        InputError: As for ``file_bytes``, or it is no UTF-8, with the line where that begins.
    """
    found = file_bytes(file, limit)
    where = shortened(file)
    for mark, name in _OTHER_TEXT.items():
        if found.startswith(mark):
            raise InputError(
                f"is {name} text, expected UTF-8", where=where, hint="save it as UTF-8"
            )
    try:
        return found.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = found.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"is not UTF-8 text (byte {error.start}: {error.reason})",
            where=f"{where}:{line}",
            hint="save it as UTF-8",
        ) from None


def lines(file: Path, limit: int = TEXT_BYTES) -> list[tuple[int, str]]:
    """Return the number, from 1, and the text of every line that is not blank, trimmed.

    Raises:
        InputError: As for ``text``.
    """
    # splitlines() would also break lines at separators that names may hold
    every = text(file, limit).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [(n, line.strip()) for n, line in enumerate(every, 1) if line.strip()]


def json_value(file: Path, limit: int = JSON_BYTES) -> object:
    """Return what a JSON file holds; whole numbers beyond 64 bits become floats.

    Raises:
        InputError: As for ``text``, or broken JSON, with line and column.
    """
    where = shortened(file)
    content = text(file, limit)
    try:
        found: object = json.loads(content, parse_int=_whole)
    except json.JSONDecodeError as error:
        place = f"{where}:{error.lineno}:{error.colno}"
        raise InputError(f"is broken JSON: {error.msg}", where=place) from None
    except RecursionError:
        raise InputError("is nested too deeply", where=where) from None
    return found


def exists(path: Path) -> bool:
    """Tell whether a path is there; one that no file can have is not."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with a zero byte
        return False


def is_file(path: Path) -> bool:
    """Tell whether a path is a file; see ``exists``."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Tell whether a path is a folder; see ``exists``."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def too_large(limit: int) -> str:
    """Return the sentence for a file of more bytes than a limit."""
    shown = f"{limit // MIB:,} MiB" if limit >= MIB else f"{limit // KIB} KiB"
    return f"is larger than {shown}, the most that is read"


def shortened(value: object) -> str:
    """Return a path or a value as messages show it: in one line, its middle left out if long."""
    shown = str(value)
    if not shown.isprintable():
        shown = ascii(shown)[1:-1]
    most = _SHOWN_OF_PATH if isinstance(value, Path) else _SHOWN
    return shown if len(shown) <= most else f"{shown[: most // 2]}…{shown[-most // 2 :]}"


def reason(error: Exception) -> str:
    """Return why something could not be read, without the path that messages begin with."""
    known = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    first = known.strip().partition("\n")[0] or type(error).__name__
    return first if len(first) <= _SHOWN_OF_PATH else f"{first[:_SHOWN_OF_PATH]}…"


def _whole(digits: str) -> int | float:
    """Return a JSON whole number; ``int`` would take quadratic time, or refuse thousands."""
    number = float(digits)
    return int(digits) if abs(number) < _LONG else number


def _size(handle: int) -> int:
    return os.fstat(handle).st_size
