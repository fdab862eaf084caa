"""The terminal shows names from files as they are, without doing what they ask."""

import io
import json

import pytest
from rich.console import Console

from squeeze.cli import console

HOSTILE = "\x1b[31mcat\u202e[red]dog[/red]"
SHOWN = "\\u001b[31mcat\\u202e[red]dog[/red]"


def test_names_are_escaped_wherever_they_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    console.out(f"file {HOSTILE}")
    console.error(f"{HOSTILE}: no such class\n  do this")
    console.Terminal().say(f"evaluating {HOSTILE}")
    console.table((f"A {HOSTILE}", "B"), [(f"{HOSTILE}\nfake line", "1")], title=HOSTILE)
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == f"file {SHOWN}"
    assert err.splitlines()[:2] == [f"error: {SHOWN}: no such class", "  do this"]
    assert err.splitlines()[2] == f"evaluating {SHOWN}"
    assert [line.rstrip() for line in out.splitlines()[1:]] == [
        SHOWN,
        f"A {SHOWN}".ljust(len(SHOWN) + 10) + "  B",
        f"{SHOWN} fake line  1",
    ]
    assert "\x1b" not in out + err
    assert "\u202e" not in out + err


def test_json_is_the_same_json(capsys: pytest.CaptureFixture[str]) -> None:
    console.out(json.dumps({"name": HOSTILE}, ensure_ascii=False))
    out = capsys.readouterr().out
    assert json.loads(out) == {"name": HOSTILE}
    assert "\u202e" not in out


def test_bars_take_names_for_text(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, stream = console.Terminal(), io.StringIO()
    shown = Console(file=stream, force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr(terminal, "_console", shown)
    with terminal.task(f"evaluating [red]{HOSTILE}", 2) as advance:
        advance(note="[/nothing]\n\x07")
    text = stream.getvalue()
    assert f"evaluating [red]{SHOWN}" in text
    assert "[/nothing] \\u0007" in text
    assert "\x1b[31m" not in text


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Let tables believe that they are printed on a terminal of 80 columns."""
    stream = io.StringIO()
    monkeypatch.setattr(
        console,
        "Console",
        lambda **how: Console(file=stream, force_terminal=True, width=80, color_system=None, **how),
    )
    return stream


ROW = ("runs/mobilenet_v2/artifacts/1-quantize.onnx", "2.21x [2.18, 2.27]", "3.92 MB")
COLUMNS = ("File", "Speed-up", "Size")


def test_80_columns_wrap_sentences_and_nothing_else(terminal: io.StringIO) -> None:
    why = "stays in float because the runtime has no integer kernel for it at all"
    short = ("1-quantize.onnx", *ROW[1:])
    console.table((*COLUMNS, "Why"), [(*short, why)])
    lines = [line.rstrip() for line in terminal.getvalue().splitlines()]
    assert max(map(len, lines)) <= 80
    assert all(text in lines[1] for text in short)
    assert " ".join(" ".join(lines[1:]).split()).endswith("for it at all")
    assert len(lines) > 2
    console.table((*COLUMNS, "Why"), [(*ROW, why)])
    blocks = terminal.getvalue().splitlines()[len(lines) :]
    assert max(map(len, blocks)) <= 80
    assert "  Why       stays in float" in blocks[3]


def test_what_does_not_fit_80_columns_is_printed_row_by_row(terminal: io.StringIO) -> None:
    console.table(
        (*COLUMNS, "Latency"), [(*ROW, "3.61 ms [3.60, 3.63]"), ("", *ROW[1:], "")], title="T"
    )
    assert terminal.getvalue().splitlines() == [
        "T",
        ROW[0],
        "  Speed-up  2.21x [2.18, 2.27]",
        "  Size      3.92 MB",
        "  Latency   3.61 ms [3.60, 3.63]",
        ROW[0],
        "  Speed-up  2.21x [2.18, 2.27]",
        "  Size      3.92 MB",
    ]


def test_tables_that_fit_stay_tables(terminal: io.StringIO) -> None:
    console.table(COLUMNS, [("a.onnx", *ROW[1:])])
    first, second = terminal.getvalue().splitlines()
    assert first.split() == list(COLUMNS)
    assert second.split() == ["a.onnx", "2.21x", "[2.18,", "2.27]", "3.92", "MB"]
