"""``-h`` everywhere, and what the shell completes."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main

from squeeze.cli.app import app

VERBS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.fixture
def completed(tmp_path: Path) -> Callable[[str], list[str]]:
    """Return what bash would offer behind a command line that is not finished."""

    def complete(line: str) -> list[str]:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
        done = subprocess.run(
            [sys.executable, "-m", "squeeze"],
            cwd=tmp_path,
            text=True,
            capture_output=True,
            check=True,
            env=os.environ | words | {"_SQUEEZE_COMPLETE": "complete_bash"},
        )
        return done.stdout.split()

    return complete


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_the_short_flag_shows_the_help(
    verb: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [verb] if verb else []
    for flag in ("-h", "--help"):
        assert app([*arguments, flag], standalone_mode=False, prog_name="squeeze") == 0
    short, long = capsys.readouterr().out.split("Usage: squeeze")[1:]
    assert short.split() == long.split()


def test_verbs_and_names_of_extensions_are_completed(completed: Callable[[str], list[str]]) -> None:
    assert completed("squeeze qu") == ["quantize"]
    assert completed("squeeze prune x --importance tay") == ["taylor"]
    assert completed("squeeze quantize x --scheme dyn") == ["dynamic_int8"]
    assert completed("squeeze quantize x --target o") == ["onnxruntime"]
    assert completed("squeeze distill x --loss dk") == ["dkd"]


def _shown(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "squeeze", *arguments, "--help"],
        text=True,
        capture_output=True,
        check=True,
        env=os.environ | {"COLUMNS": "80"},
    ).stdout


def test_80_columns_hold_every_verb_and_flag() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    top = _shown()
    assert "..." not in top.partition("Commands:")[2]
    listed = [line.split()[0] for line in top.partition("Commands:")[2].splitlines() if line]
    assert sorted(listed) == VERBS
    assert "..." not in _shown("inspect").partition("Commands:")[2]
    shown = _shown("quantize")
    for parameter in commands["quantize"].params:
        assert all(name in shown for name in parameter.opts if name.startswith("--"))
    assert max(map(len, shown.splitlines())) <= 80
