"""The command in the tests' own process, where starting another one would take seconds."""

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from squeeze.cli import app


class Outcome(NamedTuple):
    """How the command ended, and what it wrote."""

    code: object
    out: str
    err: str


Run = Callable[..., Outcome]


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> Outcome:
    """Run the command with these arguments; 0 where it ends without an exit code."""
    monkeypatch.setattr(sys, "argv", ["squeeze", *map(str, arguments)])
    capsys.readouterr()
    code: object = 0
    try:
        app.main()
    except SystemExit as stop:
        code = stop.code or 0
    return Outcome(code, *capsys.readouterr())
