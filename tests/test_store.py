"""Nothing appears half-written, and finished steps are found again."""

import errno
import resource
from pathlib import Path

import pytest

from squeeze.core.errors import InputError
from squeeze.store import RunFolder, key_of, new_file, new_folder, unwritable, write_text


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
