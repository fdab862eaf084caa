"""Records that were changed or damaged after their run."""

import json
from pathlib import Path
from typing import Any

import pytest

from squeeze.cli.report import report
from squeeze.core.errors import InputError
from squeeze.report import write
from squeeze.store import checksums


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a small run, with its checksums."""
    row = {
        "model": "baseline",
        "target": "pytorch",
        "runtime": "pytorch",
        "device": "cpu",
        "precision": "fp32",
        "threads": 1,
        "batch_size": 1,
        "skipped": "for this test",
    }
    state = {"name": "baseline", "method": "baseline", "params": 10, "macs": 10, "seconds": 1.0}
    record = {
        "squeeze": "1",
        "name": "small",
        "id": "1",
        "started": "2026-01-01",
        "seconds": 1.0,
        "command": "",
        "recipe": {},
        "environment": {"cpu": "a processor", "cores": 2},
        "data": [],
        "models": [state],
        "rows": [row],
    }
    (tmp_path / "results.json").write_text(json.dumps(record))
    checksums.write_sums(tmp_path, [tmp_path / "results.json"])
    return tmp_path


def edit(run: Path, change: dict[str, Any]) -> None:
    place = run / "results.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | change))


def test_a_run_as_it_was_is_rendered_without_a_word(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report(run)
    out, err = capsys.readouterr()
    assert err == ""
    assert "note" not in out
    assert write.changes(run) == []


def test_an_edited_record_is_named_wherever_the_report_is_read(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(run, {"seconds": 0.5})
    report(run)
    out, err = capsys.readouterr()
    warning = "Changed after the run: results.json is damaged or was changed"
    for text in (out, err, (run / "report.md").read_text(), (run / "report.html").read_text()):
        assert warning in text
    report(run, json=True)
    assert warning in json.loads(capsys.readouterr().out)["warnings"][0]


def test_a_run_without_sums_says_that_nothing_can_be_told(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / checksums.SUMS).unlink()
    report(run)
    assert "has no SHA256SUMS" in capsys.readouterr().err


def test_files_that_were_removed_to_save_space_are_no_change(run: Path) -> None:
    file = run / "big.onnx"
    file.write_text("x")
    checksums.write_sums(run, [run / "results.json", file])
    file.unlink()
    assert write.changes(run) == []


@pytest.mark.parametrize(
    "change",
    [
        {"environment": {}},
        {"models": []},
        {"rows": [{"model": "baseline"}]},
        {"seconds": "soon"},
        {"version": 1},
        {"recipe": {"a": {"b": [None]}}, "environment": {"cpu": None}},
    ],
)
def test_an_edited_record_that_does_not_fit_together_is_refused_with_its_place(
    run: Path, change: dict[str, Any]
) -> None:
    edit(run, change)
    try:
        report(run)
    except InputError as error:
        assert str(run) in str(error)  # noqa: PT017
    else:
        assert change == {"models": []}  # it renders without them


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_record_is_refused_with_its_place(run: Path, content: bytes) -> None:
    (run / "results.json").write_bytes(content)
    with pytest.raises(InputError, match=r"results\.json cannot be read: ") as raised:
        report(run)
    assert str(run) in str(raised.value)
