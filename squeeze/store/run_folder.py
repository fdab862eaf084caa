"""The run folder: one per experiment, with steps that are reused from earlier runs."""

import contextlib
import hashlib
import json
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from squeeze.core.errors import InputError, SqueezeError
from squeeze.store import checksums, processes, sealed
from squeeze.store.owners import OWNER, claim, left_behind, read_owner
from squeeze.store.writing import explained, new_folder, sweep

STEP_FILE = "step.json"
UNFINISHED = ".unfinished"
LOG, RECIPE = "log.txt", "recipe.resolved.yaml"
_RUNNING = ".running."
_MADE_AGAIN = ("report.html", "report.md", LOG)
"""Not among the checksums: ``squeeze report`` renders the reports again."""


@dataclass(frozen=True)
class RunFolder:
    """``<root>/<name>/<id>/``, one per experiment."""

    path: Path

    @classmethod
    def create(cls, root: Path, name: str) -> "RunFolder":
        """Make a new folder whose id sorts by time, and remove what killed runs have left.

        Raises:
            InputError: The place cannot be written.
        """
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        parent = root / name
        with explained(parent):
            _clear(parent)
            for number in range(1000):
                path = parent / (f"{stamp}-{number}" if number else stamp)
                try:
                    path.mkdir(parents=True)
                except FileExistsError:
                    continue
                (path / f"{_RUNNING}{processes.mark()}").touch()
                (path / "artifacts").mkdir()
                return cls(path)
        raise InputError("no free name for a run", where=str(parent))

    def release(self) -> None:
        """Remove the mark that this process is working in it."""
        for mark in self.path.glob(f"{_RUNNING}*"):
            mark.unlink(missing_ok=True)

    def discard_if_empty(self) -> None:
        """Remove the folder of a run that finished no step and left no checkpoint."""
        kept = (f"steps/*/{STEP_FILE}", f"steps/*{UNFINISHED}/{OWNER}")
        if not any(any(self.path.glob(pattern)) for pattern in kept):
            shutil.rmtree(self.path, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.path.parent.rmdir()  # only when this was its first run

    def require(self, files: Iterable[Path] = ()) -> None:
        """Make sure that the folder that this process works in, and files in it, are still there.

        Raises:
            SqueezeError: Somebody has removed them.
        """
        if not any(self.path.glob(f"{_RUNNING}*")):
            gone: Path | None = self.path
            self.discard_if_empty()  # steps that were finished since are worth keeping
        else:
            gone = next((path for path in files if not path.exists()), None)
        if gone is not None:
            raise SqueezeError(
                "was removed during the run", where=str(gone), hint="run the same command again"
            )

    @property
    def log(self) -> Path:
        """The place of the run's log."""
        return self.path / LOG

    def artifact(self, name: str) -> Path:
        """Return the place of an exported file."""
        return self.path / "artifacts" / name

    def step(self, state: str) -> Path:
        """Return the place of a step's bundle."""
        return self.path / "steps" / state

    def resume_checkpoints(
        self, state: str, key: str, warn: Callable[[str], None], *, fresh: bool = False
    ) -> Path:
        """Return the place for a step's checkpoints, with those of an equal run that was killed.

        Args:
            state: The step's name.
            key: Of its work.
            warn: Called with checkpoints that cannot be used because their owner is unknown.
            fresh: Use nothing of earlier runs.
        """
        place = self.path / "steps" / f"{state}{UNFINISHED}"
        for owner in [] if fresh else self.path.parent.glob(f"*/steps/{state}{UNFINISHED}/{OWNER}"):
            if not read_owner(owner.parent):
                warn(f"{owner}: is damaged, so the checkpoints beside it are not used")
        for folder in [] if fresh else self._unfinished(key):
            with contextlib.suppress(OSError):  # another run may have taken it first
                place.parent.mkdir(parents=True, exist_ok=True)
                if read_owner(folder).get("host") == platform.node():
                    folder.rename(place)
                    RunFolder(folder.parents[1]).discard_if_empty()
                else:  # that run may be alive: another host's processes cannot be seen
                    shutil.copytree(folder, place)
                claim(place, key)
                break
        return place

    def finish_step(self, state: str, key: str, record: Mapping[str, object]) -> None:
        """Mark a step as done, so that later runs can reuse it; drop its checkpoints."""
        folder = self.step(state)
        files = [path for path in folder.rglob("*") if path.is_file()]
        step = {"key": key, "record": record, "files": checksums.of_files(folder, files)}
        sealed.write(folder / STEP_FILE, step)
        self.drop_unfinished(state, key)

    def drop_unfinished(self, state: str, key: str) -> None:
        """Remove the checkpoints of work that is done, here and in earlier runs."""
        shutil.rmtree(self.path / "steps" / f"{state}{UNFINISHED}", ignore_errors=True)
        for left in self._unfinished(key):
            shutil.rmtree(left, ignore_errors=True)

    def _unfinished(self, key: str) -> list[Path]:
        """Return the checkpoints of this work whose process is gone, newest first."""
        folders = sorted(self.path.parent.glob(f"*/steps/*{UNFINISHED}"), reverse=True)
        return [folder for folder in folders if left_behind(folder, key)]

    def reuse(self, state: str, key: str, warn: Callable[[str], None]) -> dict[str, object] | None:
        """Copy the step of an earlier run with the same key here; return its record.

        Args:
            state: The step's name.
            key: Of its work.
            warn: Called with every copy that is damaged, which is not reused.
        """
        for marker in sorted(self.path.parent.glob(f"*/steps/*/{STEP_FILE}"), reverse=True):
            if marker.parents[2] == self.path:
                continue
            try:
                step = sealed.read(marker, key)
                if step is None:
                    continue
                with new_folder(self.step(state)) as inside:
                    _copy(marker.parent, inside, step["files"])
            except sealed.DamagedError as damage:
                if marker.parent.name == state:
                    warn(f"{marker.parent}: {damage}, so this copy of {state} is not reused")
                continue
            return {**step["record"], "reused_from": marker.parents[2].name}
        return None

    def write_sums(self) -> None:
        """Write the SHA-256 of everything that the run leaves, except reports and log."""
        every = [path for path in self.path.rglob("*") if path.is_file()]
        left_out = {self.path / name for name in (*_MADE_AGAIN, checksums.SUMS)}
        kept = [p for p in every if p not in left_out and not p.name.startswith(".")]
        checksums.write_sums(self.path, kept)


def _copy(source: Path, destination: Path, files: dict[str, str]) -> None:
    """Copy a step and make sure that the copy is what was written.

    Raises:
        sealed.DamagedError: It is not.
    """
    for path in sorted(source.rglob("*")):
        if path.is_file():
            place = destination / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                content = path.read_bytes()
            except OSError as error:
                raise sealed.DamagedError(
                    f"{path.name} cannot be read: {error.strerror}"
                ) from error
            place.write_bytes(content)
    wrong = list(checksums.faults(destination, files))
    if wrong:
        raise sealed.DamagedError("; ".join(wrong))


def _continues(path: Path) -> bool:
    """Tell whether a file of unfinished work is a result that the next run can continue from."""
    return path.suffix in {".safetensors", ".json"} and path.name != OWNER


def _clear(parent: Path) -> None:
    """Remove temporary files of killed runs, and the folders of those that finished nothing."""
    sweep(Path(tempfile.gettempdir()))
    for mark in list(parent.glob(f"*/{_RUNNING}*")):
        if processes.abandoned(mark.name):
            run = mark.parent
            for folder in [run, *(path for path in run.rglob("*") if path.is_dir())]:
                sweep(folder)
            for step in list(run.glob("steps/*")):
                whole = (step / STEP_FILE).is_file()
                continues = (step / OWNER).is_file() and any(map(_continues, step.iterdir()))
                if not (whole or continues):  # killed before its first checkpoint or its last file
                    shutil.rmtree(step, ignore_errors=True)
            mark.unlink(missing_ok=True)
            RunFolder(run).discard_if_empty()


def key_of(*parts: object) -> str:
    """Hash plain data to a step key; equal inputs give equal keys."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
