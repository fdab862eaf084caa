"""What is written stays, says why it cannot be, and leaves nothing behind after a kill."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from squeeze.core.errors import InputError, SqueezeError
from squeeze.store import new_file, new_folder, scratch, sweep, unusable, unwritable, write_text


def test_content_is_on_the_disk_before_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, str]] = []
    fsync = os.fsync

    def watched(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        events.append(("folder" if path.is_dir() else "file", path.name))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    write_text(tmp_path / "a.txt", "x")
    assert [kind for kind, _ in events] == ["file", "folder"]
    assert events[0][1] != "a.txt"  # still its temporary name
    assert events[1][1] == tmp_path.name
    events.clear()
    with new_folder(tmp_path / "b") as inside:
        (inside / "c").write_text("x")
    assert [kind for kind, _ in events] == ["file", "folder", "folder"]
    assert (events[0][1], events[2][1]) == ("c", tmp_path.name)


def killed_in(code: str, folder: Path) -> None:
    """Run code that ends with an endless sleep, and kill it there."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}\n    print('there', flush=True)\n    time.sleep(60)"],
        stdout=subprocess.PIPE,
        cwd=folder,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()


IMPORTS = "import time\nfrom pathlib import Path\nfrom squeeze.store import *\n"


@pytest.mark.parametrize(
    "code",
    [
        "with new_file(Path('x.onnx')) as inside:\n    inside.write_text('half')",
        "with new_folder(Path('bundle')) as inside:\n    (inside / 'a').write_text('half')",
    ],
)
def test_the_next_writer_removes_what_a_killed_one_has_left(code: str, tmp_path: Path) -> None:
    killed_in(IMPORTS + code, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    write_text(tmp_path / "other", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_what_libraries_put_into_the_temporary_folder_goes_with_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    code = "import tempfile\nwith scratch(for_libraries=True):\n    tempfile.mkdtemp('theirs')"
    killed_in(IMPORTS + code, tmp_path)
    (left,) = tmp_path.iterdir()
    assert [path.name[-6:] for path in left.iterdir()] == ["theirs"]
    with scratch(for_libraries=True) as inside:
        assert not left.exists()
        assert Path(tempfile.mkdtemp()).parent == inside
    assert Path(tempfile.gettempdir()) == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_scratch_folders_of_killed_processes_go_and_those_of_living_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    killed_in(IMPORTS + "with scratch() as inside:\n    (inside / 'a').write_text('x')", tmp_path)
    (left,) = tmp_path.iterdir()
    with scratch() as first:
        assert not left.exists()
        with scratch() as second:
            assert first.is_dir()
            assert second.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_files_of_nobody_and_of_other_machines_are_left_alone(tmp_path: Path) -> None:
    names = [".hidden", "squeeze-notes", ".a.squeeze-00000000-1-1-x.onnx"]
    for name in names:
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_long_name_fits_with_its_temporary_mark(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 240 + ".onnx")
    write_text(path, "whole")
    assert path.read_text() == "whole"


def test_a_folder_that_vanishes_is_named(tmp_path: Path) -> None:
    path = tmp_path / "out" / "x.onnx"
    removed = "was removed while squeeze was writing"
    with pytest.raises(SqueezeError, match=removed) as raised, new_file(path) as inside:
        inside.write_text("x")
        shutil.rmtree(path.parent)
    assert raised.value.where == str(path.parent)
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.ENAMETOOLONG, "shorter path"),
        (errno.EACCES, "permissions"),
        (errno.ENOTDIR, "a part of the path is a file"),
        (errno.EROFS, "read-only"),
    ],
)
def test_the_hint_fits_the_cause(number: int, hint: str) -> None:
    error = unwritable(OSError(number, "x", "/there"))
    assert error is not None
    assert hint in str(error.hint)
    assert ("space" in str(error.hint)) == (number == errno.ENOSPC)


def test_a_path_that_is_too_long_is_shortened_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="File name too long") as raised:
        write_text(tmp_path / ("x" * 5000), "")
    assert "space" not in str(raised.value)
    assert len(str(raised.value)) < 500


def test_errors_of_reading_are_not_called_writing() -> None:
    error = unusable(OSError(errno.ENAMETOOLONG, "x", "/data"))
    assert isinstance(error, InputError)
    assert str(error).startswith("/data: cannot be read or written: File name too long")
    failed = unusable(OSError(errno.EIO, "x", "/data"))
    assert failed is not None
    assert failed.exit_code == 1
    assert unusable(OSError("no number")) is None
