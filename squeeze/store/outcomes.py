"""What steps leave besides bundles: a record per step in ``outcomes/``, and the files it lists."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from squeeze.store import checksums, sealed
from squeeze.store.run_folder import RunFolder
from squeeze.store.writing import new_file

OUTCOMES = "outcomes"
_OF_THE_KEY = 16


class StepRecord(TypedDict):
    """What a step gave, as plain data, and how many seconds it took."""

    result: dict[str, object]
    seconds: float


@dataclass(frozen=True)
class StoredOutcome:
    """An outcome as it lies on disk.

    Attributes:
        run: The run that computed it.
        record: What the step gave.
        new: Whether it came into this run's folder just now.
    """

    run: str
    record: StepRecord
    new: bool


def keep(folder: RunFolder, name: str, key: str, record: StepRecord, paths: Iterable[Path]) -> None:
    """Write down what a step gave, so that this run and later ones find it.

    Args:
        folder: Of this run.
        name: The step's.
        key: Of its work.
        record: What it gave.
        paths: The files and folders that it has made in ``folder``.
    """
    files = checksums.of_files(folder.path, _files(paths))
    content = {"key": key, "run": folder.path.name, "record": record, "files": files}
    sealed.write(_place(folder.path, name, key), content)


def find(
    folder: RunFolder, name: str, key: str, warn: Callable[[str], None], *, earlier: bool
) -> StoredOutcome | None:
    """Return the outcome of a step that this run, or an earlier one, has done.

    The files of an earlier run are copied to this one's folder, so that each run stands alone.

    Args:
        folder: Of this run.
        name: The step's.
        key: Of its work.
        warn: Called with every copy that is damaged; it is not reused.
        earlier: Whether to look into earlier runs too.
    """
    own = _place(folder.path, name, key)
    others = folder.path.parent.glob(f"*/{OUTCOMES}/*.{key[:_OF_THE_KEY]}.json")
    others = (path for path in sorted(others, reverse=True) if path.parents[1] != folder.path)
    for place in [own] if own.exists() else [] if not earlier else others:
        try:
            content = sealed.read(place, key)
            if content is None:
                continue
            if place != own:
                _copy(place.parents[1], folder.path, content["files"])
                sealed.write(own, content)
        except sealed.DamagedError as damage:
            warn(f"{place.parents[1]}: {damage}, so this copy of {name} is not reused")
            continue
        return StoredOutcome(content["run"], content["record"], place != own)
    return None


def _place(run: Path, name: str, key: str) -> Path:
    plain = re.sub(r"[^\w.+-]+", "-", name)
    return run / OUTCOMES / f"{plain}.{key[:_OF_THE_KEY]}.json"


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (inside for inside in path.rglob("*") if inside.is_file())
        else:
            yield path


def _copy(source: Path, destination: Path, files: dict[str, str]) -> None:
    """Copy files between runs, those that are what was written.

    Raises:
        DamagedError: One of them is not.
    """
    wrong = list(checksums.faults(source, files))
    if wrong:
        raise sealed.DamagedError("; ".join(wrong))
    for name, digest in files.items():
        if (destination / name).exists():
            continue
        with new_file(destination / name) as inside:
            inside.write_bytes((source / name).read_bytes())
            if checksums.of_file(inside) != digest:
                raise sealed.DamagedError(f"{name} was changed while it was copied")
