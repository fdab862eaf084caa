"""Nothing appears half-written, and finished steps are found again."""

import errno
import json
import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from squeeze.core.errors import InputError
from squeeze.store import (
    RunFolder,
    claim,
    key_of,
    new_file,
    new_folder,
    start_or_take_up,
    unwritable,
    write_text,
)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    with pytest.raises(RuntimeError), new_file(path) as inside:
        inside.write_text("half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    write_text(path, "whole")
    write_text(path, "again")
    assert [p.read_text() for p in path.parent.iterdir()] == ["again"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with pytest.raises(KeyboardInterrupt), new_folder(path) as inside:
        (inside / "a").write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with new_folder(path) as inside:
        (inside / "a").write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
    with pytest.raises(InputError, match="exists already"), new_folder(path):
        pass


def test_a_place_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        RunFolder.create(tmp_path / "file", "run")


def test_a_file_that_cannot_grow_is_told(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(InputError, match="cannot be written: File too large"):
            write_text(tmp_path / "file", "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_only_errors_of_the_place_are_explained() -> None:
    assert unwritable(OSError(errno.ENOENT, "x")) is None
    full = unwritable(OSError(errno.ENOSPC, "x", "/there"))
    assert full is not None
    assert (full.exit_code, full.where) == (2, "/there")


def test_steps_of_earlier_runs_are_taken_over(tmp_path: Path) -> None:
    first, key = RunFolder.create(tmp_path, "run"), key_of("a", {"b": 1})
    with new_folder(first.step("1-prune")) as inside:
        (inside / "weights").write_text("w")
    first.finish_step("1-prune", key, {"name": "1-prune"})
    second = RunFolder.create(tmp_path, "run")
    assert second.path != first.path
    assert second.reuse("1-prune", key_of("a", {"b": 2})) is None
    assert second.reuse("1-prune", key) == {"name": "1-prune", "reused_from": first.path.name}
    assert (second.step("1-prune") / "weights").read_text() == "w"


def test_a_run_without_a_finished_step_leaves_nothing(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run")
    folder.discard_if_empty()
    assert list(tmp_path.iterdir()) == []


def checkpoints_of(folder: Path, key: str, *, alive: bool) -> subprocess.Popen[bytes]:
    """Leave a checkpoint that belongs to another process, dead or alive."""
    code = "import time; time.sleep(60)" if alive else ""
    process = subprocess.Popen([sys.executable, "-c", code])
    started = psutil.Process(process.pid).create_time()
    if not alive:
        process.wait()
    claim(folder, key)
    owner = json.loads((folder / "owner.json").read_text())
    owner |= {"pid": process.pid, "started": started}
    (folder / "owner.json").write_text(json.dumps(owner))
    (folder / "1.safetensors").write_text("state")
    return process


def test_checkpoints_of_a_killed_run_move_to_the_next_and_go_with_the_step(tmp_path: Path) -> None:
    first = RunFolder.create(tmp_path, "run")
    checkpoints_of(first.path / "steps" / "baseline.unfinished", "key", alive=False)
    first.discard_if_empty()
    second = RunFolder.create(tmp_path, "run")
    assert not second.take_up("baseline", "other").exists()
    assert not second.take_up("baseline", "key", fresh=True).exists()
    place = second.take_up("baseline", "key")
    assert (place / "1.safetensors").read_text() == "state"
    assert [path.name for path in second.path.parent.iterdir()] == [second.path.name]
    second.step("baseline").mkdir(parents=True)
    second.finish_step("baseline", "key", {})
    assert not place.exists()


def test_checkpoints_of_a_living_run_stay_with_it(tmp_path: Path) -> None:
    first = RunFolder.create(tmp_path, "run")
    left = first.path / "steps" / "baseline.unfinished"
    process = checkpoints_of(left, "key", alive=True)
    try:
        second = RunFolder.create(tmp_path, "run")
        assert not second.take_up("baseline", "key").exists()
        second.step("baseline").mkdir(parents=True)
        second.finish_step("baseline", "key", {})
        assert (left / "1.safetensors").exists()
        with pytest.raises(InputError, match="another process is training into it"):
            start_or_take_up(left, "key")
    finally:
        process.kill()
        process.wait()
    start_or_take_up(left, "key")
    assert left.exists()
    start_or_take_up(left, "other")
    assert not left.exists()
