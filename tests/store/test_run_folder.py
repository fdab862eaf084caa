"""Nothing appears half-written, and finished steps are found again."""

import errno
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from squeeze.core.errors import InputError, SqueezeError
from squeeze.store import (
    RunFolder,
    claim,
    key_of,
    new_file,
    new_folder,
    prepare_checkpoints,
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
    assert second.reuse("1-prune", key_of("a", {"b": 2}), pytest.fail) is None
    assert second.reuse("1-prune", key, pytest.fail) == {
        "name": "1-prune",
        "reused_from": first.path.name,
    }
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
    assert not second.resume_checkpoints("baseline", "other", pytest.fail).exists()
    assert not second.resume_checkpoints("baseline", "key", pytest.fail, fresh=True).exists()
    place = second.resume_checkpoints("baseline", "key", pytest.fail)
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
        assert not second.resume_checkpoints("baseline", "key", pytest.fail).exists()
        second.step("baseline").mkdir(parents=True)
        second.finish_step("baseline", "key", {})
        assert (left / "1.safetensors").exists()
        with pytest.raises(InputError, match="another process is training into it"):
            prepare_checkpoints(left, "key")
    finally:
        process.kill()
        process.wait()
    prepare_checkpoints(left, "key")
    assert left.exists()
    prepare_checkpoints(left, "other")
    assert not left.exists()


def run_that_was_killed(root: Path, code: str) -> Path:
    """Leave what a run leaves that is killed at the end of some code; return its folder."""
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom squeeze.store import *\n"
        "folder = RunFolder.create(Path(sys.argv[1]), 'run')\nprint(folder.path, flush=True)\n"
        f"{code}\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(root)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -9, done.stderr
    return Path(done.stdout.strip())


def test_the_next_run_removes_what_a_killed_one_has_left(tmp_path: Path) -> None:
    half = run_that_was_killed(
        tmp_path,
        "with new_folder(folder.step('baseline')) as inside:\n    pass\n"
        "folder.finish_step('baseline', 'key', {})\n"
        "(folder.path / 'steps' / '1-prune.unfinished').mkdir()\n"
        "write_text(folder.step('1-prune') / 'weights.safetensors', 'without its record')\n"
        "file = new_file(folder.artifact('x.onnx'))\nfile.__enter__()\n"
        "other = new_folder(folder.step('2-distill'))\nother.__enter__()",
    )
    assert list((half / "artifacts").iterdir())
    nothing = run_that_was_killed(tmp_path, "(folder.path / 'log.txt').touch()")
    mine = RunFolder.create(tmp_path, "run")
    assert not (nothing / "log.txt").exists()  # its name may be free for the next
    assert [p.relative_to(half).as_posix() for p in sorted(half.rglob("*"))] == [
        "artifacts",
        "steps",
        "steps/baseline",
        "steps/baseline/step.json",
    ]
    mine.release()
    assert not list(tmp_path.rglob(".*"))


def test_the_next_run_leaves_a_living_one_alone(tmp_path: Path) -> None:
    first = RunFolder.create(tmp_path, "run")
    with new_file(first.artifact("x.onnx")) as inside:
        RunFolder.create(tmp_path, "run")
        assert inside.exists()
    assert first.artifact("x.onnx").exists()


def test_a_run_folder_that_somebody_removes_is_missed(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run")
    file = write_text(folder.artifact("x.onnx"), "x")
    folder.require([file])
    file.unlink()
    with pytest.raises(SqueezeError, match=r"x\.onnx: was removed during the run"):
        folder.require([file])
    shutil.rmtree(folder.path)
    write_text(folder.artifact("y.onnx"), "what comes too late")
    with pytest.raises(SqueezeError, match="was removed during the run"):
        folder.require()
    assert not folder.path.exists()


def test_checkpoints_that_nobody_owns_any_more_are_named(tmp_path: Path) -> None:
    first = RunFolder.create(tmp_path, "run")
    left = first.path / "steps" / "baseline.unfinished"
    checkpoints_of(left, "key", alive=False)
    (left / "owner.json").write_text("{")
    said: list[str] = []
    second = RunFolder.create(tmp_path, "run")
    assert not second.resume_checkpoints("baseline", "key", said.append).exists()
    assert said == [f"{left / 'owner.json'}: is damaged, so the checkpoints beside it are not used"]


def test_steps_finished_after_the_folder_was_removed_are_kept(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run")
    shutil.rmtree(folder.path)
    folder.step("baseline").mkdir(parents=True)
    folder.finish_step("baseline", "key", {})
    with pytest.raises(SqueezeError, match="was removed during the run"):
        folder.require()
    assert RunFolder.create(tmp_path, "run").reuse("baseline", "key", pytest.fail) is not None
