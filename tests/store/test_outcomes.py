"""Outcomes are found by their key, copied with their files, and not believed when damaged."""

import json
from pathlib import Path

import pytest

from squeeze.store import RunFolder, key_of, outcomes, write_text

KEY = key_of("export", 1)


def kept(root: Path) -> RunFolder:
    folder = RunFolder.create(root, "run")
    path = write_text(folder.artifact("a.onnx"), "content")
    (folder.artifact("bundle")).mkdir()
    write_text(folder.artifact("bundle") / "weights", "w")
    outcomes.keep(folder, "export of a.onnx", KEY, {"n": 1}, [path, folder.artifact("bundle")])
    return folder


def test_an_outcome_comes_with_its_files_and_the_run_that_made_it(tmp_path: Path) -> None:
    first = kept(tmp_path)
    found = outcomes.find(first, "export of a.onnx", KEY, pytest.fail, earlier=False)
    assert found == outcomes.StoredOutcome(first.path.name, {"n": 1}, new=False)
    second = RunFolder.create(tmp_path, "run")
    assert outcomes.find(second, "export of a.onnx", KEY, pytest.fail, earlier=False) is None
    other = key_of("export", 2)
    assert outcomes.find(second, "export of a.onnx", other, pytest.fail, earlier=True) is None
    found = outcomes.find(second, "export of a.onnx", KEY, pytest.fail, earlier=True)
    assert found == outcomes.StoredOutcome(first.path.name, {"n": 1}, new=True)
    assert second.artifact("a.onnx").read_text() == "content"
    assert (second.artifact("bundle") / "weights").read_text() == "w"
    found = outcomes.find(second, "export of a.onnx", KEY, pytest.fail, earlier=False)
    assert found == outcomes.StoredOutcome(first.path.name, {"n": 1}, new=False)


def test_a_name_that_is_no_file_name_is_kept_too(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run")
    outcomes.keep(folder, "measurement of ../my phone, batch 1", KEY, {}, [])
    (place,) = (folder.path / outcomes.OUTCOMES).iterdir()
    assert place.name == f"measurement-of-..-my-phone-batch-1.{KEY[:16]}.json"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("file", "artifacts/a.onnx is damaged or was changed: its SHA-256 is not the recorded one"),
        ("missing", "artifacts/a.onnx is missing"),
        ("record", "its SHA-256 is not the recorded one"),
        ("text", "is damaged: "),
    ],
)
def test_damage_is_named_and_an_older_copy_is_taken(damage: str, told: str, tmp_path: Path) -> None:
    first, second = kept(tmp_path), RunFolder.create(tmp_path, "run")
    assert outcomes.find(second, "export of a.onnx", KEY, pytest.fail, earlier=True)
    (place,) = (second.path / outcomes.OUTCOMES).iterdir()
    if damage == "file":
        second.artifact("a.onnx").write_text("changed")
    elif damage == "missing":
        second.artifact("a.onnx").unlink()
    elif damage == "record":
        content = json.loads(place.read_text())
        place.write_text(json.dumps(content | {"record": {"n": 2}}))
    else:
        place.write_text("{")
    third, said = RunFolder.create(tmp_path, "run"), list[str]()
    found = outcomes.find(third, "export of a.onnx", KEY, said.append, earlier=True)
    assert found == outcomes.StoredOutcome(first.path.name, {"n": 1}, new=True)
    assert third.artifact("a.onnx").read_text() == "content"
    (line,) = said
    assert line.startswith(f"{second.path}: ")
    assert told in line
    assert line.endswith("so this copy of export of a.onnx is not reused")
