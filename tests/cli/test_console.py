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
