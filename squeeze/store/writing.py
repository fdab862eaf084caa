"""Files and folders that appear whole or not at all, and stay after a power cut."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from squeeze.core import reading
from squeeze.core.errors import InputError, SqueezeError
from squeeze.store import processes

_ELSEWHERE = "choose another place with --output"
_HINTS = {
    errno.ENOSPC: f"free some space or {_ELSEWHERE}",
    errno.EDQUOT: f"free some of your quota or {_ELSEWHERE}",
    errno.EROFS: f"the file system is read-only: {_ELSEWHERE}",
    errno.EACCES: "check its permissions or choose another place",
    errno.EPERM: "check its permissions or choose another place",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f) or choose another place",
    errno.EEXIST: "remove it or choose another name",
    errno.ENOTDIR: "a part of the path is a file: choose another path",
    errno.EISDIR: "it is a folder: name a file",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.ELOOP: "its symbolic links lead in a circle: choose another path",
}
_OF_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
_LONGEST_STEM, _LONGEST_SUFFIX = 40, 20


def unwritable(error: OSError) -> InputError | None:
    """Return the error to show when a place is full or cannot be written to, else None."""
    hint = _HINTS.get(error.errno or 0)
    if hint is None:
        return None
    where = reading.shortened(Path(os.fsdecode(error.filename or "the output folder")))
    return InputError(f"cannot be written: {os.strerror(error.errno or 0)}", where=where, hint=hint)


def unusable(error: OSError) -> SqueezeError | None:
    """Return the error to show when a file cannot be read or written, else None."""
    number = error.errno or 0
    if number in _OF_WRITING:
        return unwritable(error)
    if not number or error.filename is None:
        return None
    what = f"cannot be read or written: {os.strerror(number)}"
    kind = InputError if number in _HINTS else SqueezeError
    return kind(
        what, where=reading.shortened(Path(os.fsdecode(error.filename))), hint=_HINTS.get(number)
    )


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the name ``folder`` when the block ends well.

    Raises:
        InputError: The folder exists already and is not empty, or cannot be written.
        SqueezeError: The place was removed meanwhile.
    """
    with explained(folder):
        if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
            raise InputError("exists already", where=str(folder), hint="choose another folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(folder.parent)
        inside = Path(tempfile.mkdtemp(prefix=_prefix(folder.name), dir=folder.parent))
    try:
        with explained(folder):
            yield inside
            inside.chmod(0o755)
            for path in inside.rglob("*"):
                _sync(path)
            _sync(inside)
            if folder.is_dir():
                folder.rmdir()
            inside.rename(folder)
            _sync(folder.parent)
    except BaseException:
        shutil.rmtree(inside, ignore_errors=True)
        raise


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path that takes the name ``path`` when the block ends well.

    Raises:
        InputError: The place cannot be written.
        SqueezeError: The place was removed meanwhile.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        suffix = path.suffix if len(path.suffix) <= _LONGEST_SUFFIX else ""
        handle, name = tempfile.mkstemp(prefix=_prefix(path.stem), suffix=suffix, dir=path.parent)
        os.close(handle)
    inside = Path(name)
    try:
        with explained(path):
            yield inside
            inside.chmod(0o644)
            _sync(inside)
            inside.replace(path)
            _sync(path.parent)
    except BaseException:
        with suppress(OSError):
            inside.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> Path:
    """Write a text file atomically."""
    with new_file(path) as inside:
        inside.write_text(text, encoding="utf-8")
    return path


@contextmanager
def scratch(*, for_libraries: bool = False) -> Iterator[Path]:
    """Yield a folder for the time of the block, outside of the run's; a killed one's is swept.

    Args:
        for_libraries: Let it also hold what libraries put into the system's temporary folder.
    """
    sweep(Path(tempfile.gettempdir()))
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix=processes.mark(), ignore_cleanup_errors=True) as folder:
        if for_libraries:
            tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders in a folder whose process is gone."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if processes.abandoned(entry.name):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry.path).unlink(missing_ok=True)


def _prefix(name: str) -> str:
    return f".{name[:_LONGEST_STEM]}.{processes.mark()}"


def _sync(path: Path) -> None:
    """Bring a file's or folder's content to the disk, so that no rename is kept before it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some file systems have no fsync
            raise
    finally:
        os.close(handle)


@contextmanager
def explained(place: Path) -> Iterator[None]:
    """Turn errors of the place that the block writes to into errors that are explained to the user.

    Raises:
        InputError: It is full or cannot be written to.
        SqueezeError: It was removed meanwhile.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(place)
        explained: SqueezeError | None = unwritable(error)
        if error.errno == errno.ENOENT and not place.parent.is_dir():
            explained = SqueezeError(
                "was removed while squeeze was writing into it",
                where=reading.shortened(place.parent),
                hint="run the same command again",
            )
        if explained is None:
            raise
        raise explained from error
