"""The command as users start it: in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

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
