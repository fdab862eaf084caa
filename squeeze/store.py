"""The run folder: atomic writes, a folder per experiment, steps reused from earlier runs."""

import contextlib
import errno
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from squeeze.core import reading
from squeeze.core.errors import InputError

_CANNOT_WRITE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EFBIG,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
}
STEP_FILE = "step.json"
UNFINISHED = ".unfinished"
_OWNER = "owner.json"


def unwritable(error: OSError) -> InputError | None:
    """Return the error to show when the output place is full or closed to us, else None."""
    if error.errno not in _CANNOT_WRITE:
        return None
    if error.errno == errno.ENAMETOOLONG:
        return InputError(
            f"is longer than a path can be: {os.strerror(error.errno)}",
            where=reading.shortened(Path(os.fsdecode(error.filename or "the output folder"))),
        )
    return InputError(
        f"cannot be written: {os.strerror(error.errno)}",
        where=str(error.filename or "the output folder"),
        hint="free some space or choose another place with --output",
    )


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the name ``folder`` when the block ends well.

    Raises:
        InputError: The folder exists already and is not empty, or cannot be written.
    """
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        raise InputError("exists already", where=str(folder), hint="choose another folder")
    with _explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        inside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with _explained(folder):
            yield inside
            inside.chmod(0o755)
            if folder.is_dir():
                folder.rmdir()
            inside.rename(folder)
    except BaseException:
        shutil.rmtree(inside, ignore_errors=True)
        raise


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path that takes the name ``path`` when the block ends well.

    Raises:
        InputError: The place cannot be written.
    """
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
    inside = Path(name)
    try:
        with _explained(path):
            yield inside
            inside.chmod(0o644)
            inside.replace(path)
    except BaseException:
        inside.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> Path:
    """Write a text file atomically."""
    with new_file(path) as inside:
        inside.write_text(text, encoding="utf-8")
    return path


@contextmanager
def _explained(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(place)
        explained = unwritable(error)
        if explained is None:
            raise
        raise explained from error


@dataclass(frozen=True)
class RunFolder:
    """``<root>/<name>/<id>/``, one per experiment."""

    path: Path

    @classmethod
    def create(cls, root: Path, name: str) -> "RunFolder":
        """Make a new folder whose id sorts by time.

        Raises:
            InputError: The place cannot be written.
        """
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        parent = root / name
        with _explained(parent):
            parent.mkdir(parents=True, exist_ok=True)
            for number in range(1000):
                path = parent / (f"{stamp}-{number}" if number else stamp)
                try:
                    path.mkdir()
                except FileExistsError:
                    continue
                (path / "artifacts").mkdir()
                return cls(path)
        raise InputError("no free name for a run", where=str(parent))

    def discard_if_empty(self) -> None:
        """Remove the folder of a run that finished no step and left no checkpoint."""
        kept = (f"steps/*/{STEP_FILE}", f"steps/*{UNFINISHED}/{_OWNER}")
        if not any(any(self.path.glob(pattern)) for pattern in kept):
            shutil.rmtree(self.path, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.path.parent.rmdir()  # only when this was its first run

    def artifact(self, name: str) -> Path:
        """Return the place of an exported file."""
        return self.path / "artifacts" / name

    def step(self, state: str) -> Path:
        """Return the place of a step's bundle."""
        return self.path / "steps" / state

    def take_up(self, state: str, key: str, *, fresh: bool = False) -> Path:
        """Return the place for a step's checkpoints, with those of an equal run that was killed.

        Args:
            state: The step's name.
            key: Of its work.
            fresh: Take nothing from earlier runs.
        """
        place = self.path / "steps" / f"{state}{UNFINISHED}"
        for folder in [] if fresh else self._unfinished(key):
            with contextlib.suppress(OSError):  # another run may have been faster
                place.parent.mkdir(parents=True, exist_ok=True)
                if _owner(folder).get("host") == platform.node():
                    folder.rename(place)
                    RunFolder(folder.parents[1]).discard_if_empty()
                else:  # nobody here knows whether that run is alive
                    shutil.copytree(folder, place)
                claim(place, key)
                break
        return place

    def finish_step(self, state: str, key: str, record: dict[str, Any]) -> None:
        """Mark a step as done, so that later runs can take it over; drop its checkpoints."""
        write_text(
            self.step(state) / STEP_FILE, json.dumps({"key": key, "record": record}, indent=1)
        )
        shutil.rmtree(self.path / "steps" / f"{state}{UNFINISHED}", ignore_errors=True)
        for folder in self._unfinished(key):
            shutil.rmtree(folder, ignore_errors=True)

    def _unfinished(self, key: str) -> list[Path]:
        """Return the checkpoints of this work whose process is gone, newest first."""
        folders = sorted(self.path.parent.glob(f"*/steps/*{UNFINISHED}"), reverse=True)
        return [folder for folder in folders if left_behind(folder, key)]

    def reuse(self, state: str, key: str) -> dict[str, Any] | None:
        """Copy the step of an earlier run with the same key here; return its record."""
        for marker in sorted(self.path.parent.glob(f"*/steps/*/{STEP_FILE}"), reverse=True):
            try:
                found = json.loads(marker.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if found.get("key") == key and marker.parents[2] != self.path:
                with new_folder(self.step(state)) as inside:
                    shutil.copytree(marker.parent, inside, dirs_exist_ok=True)
                return dict(found["record"]) | {"reused_from": marker.parents[2].name}
        return None


def start_or_take_up(folder: Path, key: str) -> Path:
    """Make sure that a folder of checkpoints belongs to this work; those of other work go.

    Raises:
        InputError: Another process is writing into it.
    """
    owner = _owner(folder)
    if owner and not left_behind(folder, str(owner.get("key"))):
        raise InputError("another process is training into it", where=str(folder))
    if owner and owner.get("key") != key:
        shutil.rmtree(folder, ignore_errors=True)
    return folder


def claim(folder: Path, key: str) -> None:
    """Make a folder of checkpoints this process's own.

    Raises:
        InputError: The place cannot be written.
    """
    import psutil

    owner = {"key": key, "host": platform.node(), "pid": os.getpid()}
    owner["started"] = psutil.Process().create_time()
    if _owner(folder) != owner:
        write_text(folder / _OWNER, json.dumps(owner))


def left_behind(folder: Path, key: str) -> bool:
    """Tell whether a folder holds checkpoints of this work, of a process that is gone."""
    import psutil

    owner = _owner(folder)
    if owner.get("key") != key:
        return False
    if owner.get("host") != platform.node() or owner.get("pid") == os.getpid():
        return True
    try:
        return bool(psutil.Process(owner["pid"]).create_time() != owner["started"])
    except (psutil.Error, KeyError, TypeError, ValueError):
        return True


def _owner(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / _OWNER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def key_of(*parts: Any) -> str:  # noqa: ANN401
    """Hash plain data to a step key; equal inputs give equal keys."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
