"""Damage is found before a step is reused, and named; an older good copy takes its place."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from squeeze.core.errors import InputError
from squeeze.store import RunFolder, checksums, new_folder

CONTENT = b"weights" * 100


def finished(root: Path, key: str = "key") -> RunFolder:
    folder = RunFolder.create(root, "run")
    with new_folder(folder.step("1-prune")) as inside:
        (inside / "weights.safetensors").write_bytes(CONTENT)
        (inside / "ranges.json").write_text("{}")
    folder.finish_step("1-prune", key, {"name": "1-prune", "score": 0.1 + 0.2})
    folder.release()
    return folder


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)


DAMAGE = {
    "flipped": lambda step: flip(step / "weights.safetensors"),
    "truncated": lambda step: (step / "weights.safetensors").write_bytes(CONTENT[:-1]),
    "missing": lambda step: (step / "weights.safetensors").unlink(),
    "ranges": lambda step: (step / "ranges.json").write_text("[]"),
    "no record": lambda step: (step / "step.json").write_text("{"),
    "other record": lambda step: (step / "step.json").write_text(
        (step / "step.json").read_text().replace("0.3", "0.9")
    ),
    "no checksum": lambda step: (step / "step.json").write_text(
        json.dumps({"key": "key", "record": {"name": "1-prune"}})
    ),
    "list": lambda step: (step / "step.json").write_text("[1]"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_step_is_named_and_not_reused(how: str, tmp_path: Path) -> None:
    first = finished(tmp_path)
    DAMAGE[how](first.step("1-prune"))
    said: list[str] = []
    second = RunFolder.create(tmp_path, "run")
    assert second.reuse("1-prune", "key", said.append) is None
    (told,) = said
    assert told.startswith(f"{first.step('1-prune')}: ")
    name = {"flipped": "weights", "truncated": "weights", "missing": "weights", "ranges": "ranges"}
    assert name.get(how, "step.json") in told
    assert "is not reused" in told
    assert not second.step("1-prune").exists()


def test_an_older_good_copy_is_reused(tmp_path: Path) -> None:
    first, second = finished(tmp_path), finished(tmp_path)
    flip(second.step("1-prune") / "weights.safetensors")
    said: list[str] = []
    third = RunFolder.create(tmp_path, "run")
    found = third.reuse("1-prune", "key", said.append)
    assert found == {"name": "1-prune", "score": 0.1 + 0.2, "reused_from": first.path.name}
    assert (third.step("1-prune") / "weights.safetensors").read_bytes() == CONTENT
    assert len(said) == 1


def test_damage_of_other_work_is_nobodys_business(tmp_path: Path) -> None:
    flip(finished(tmp_path, "other").step("1-prune") / "weights.safetensors")
    assert RunFolder.create(tmp_path, "run").reuse("1-prune", "key", pytest.fail) is None


def test_the_sums_of_a_run_are_those_of_sha256sum(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    (folder.path / "results.json").write_text("{}")
    (folder.path / "report.html").write_text("rendered again at any time")
    folder.write_sums()
    program = shutil.which("sha256sum")
    if program is None:
        pytest.skip("needs sha256sum")
    done = subprocess.run(
        [program, "-c", checksums.SUMS], cwd=folder.path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "results.json: OK",
        "steps/1-prune/ranges.json: OK",
        "steps/1-prune/step.json: OK",
        "steps/1-prune/weights.safetensors: OK",
    ]
    assert list(checksums.faults(folder.path, checksums.read_sums(folder.path) or {})) == []


@pytest.mark.parametrize(
    "content",
    [
        "nothing\n",
        "00  a\n",
        f"{'0' * 64}  /dev/zero\n",
        f"{'0' * 64}  ../other/weights\n",
        f"{'0' * 64}  a\0b\n",
        "\udcff",
        None,
    ],
)
def test_sums_that_are_damaged_themselves_are_told(content: str | None, tmp_path: Path) -> None:
    if content is None:
        (tmp_path / checksums.SUMS).mkdir()
    else:
        (tmp_path / checksums.SUMS).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match="SHA256SUMS: is damaged"):
        checksums.read_sums(tmp_path)


def test_what_never_ends_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "weights").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    told = list(checksums.faults(tmp_path, {"weights": "", "pipe": ""}))
    assert told == [f"{name} is a pipe or a device, not a file" for name in ("weights", "pipe")]
