"""The command as users start it: in a process of its own."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import command_line

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def squeeze(tmp_path: Path) -> "Callable[..., subprocess.CompletedProcess[str]]":
    """Run the command in the test's folder."""

    def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "squeeze", *map(str, arguments)],
            cwd=tmp_path,
            text=True,
            capture_output=True,
            check=False,
            env=os.environ | {"COLUMNS": "200"},
        )

    return run


@pytest.fixture
def in_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> command_line.Run:
    """Run the command in this process, in the test's folder."""
    monkeypatch.chdir(tmp_path)
    return partial(command_line.run, monkeypatch, capsys)
