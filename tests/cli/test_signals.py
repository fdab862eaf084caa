"""SIGTERM ends a command as Ctrl-C does; without a terminal its progress is plain lines."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def recipe(recipe_data: dict[str, Any], write_recipe: Callable[[Any], Path]) -> Path:
    """A training that takes long."""
    train = {"epochs": 500, "lr": 0.1, "workers": 1}
    return write_recipe(recipe_data | {"baseline": {"train": train}, "steps": [], "gates": []})


def started(folder: Path, *command: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*map(str, command)],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(folder)},
    )


def lines_until(process: "subprocess.Popen[str]", text: str) -> Iterator[str]:
    """Yield what a command says, to the first line with a text."""
    assert process.stderr is not None
    end = time.monotonic() + 200
    for line in process.stderr:
        yield line.rstrip()
        if text in line:
            return
        assert time.monotonic() < end
    raise AssertionError(process.communicate())


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_a_signal_stops_cleanly_and_the_next_run_goes_on(
    recipe: Path, tmp_path: Path, command: list[str], number: signal.Signals, code: int
) -> None:
    process = started(tmp_path, *command, "run", recipe)
    said = list(lines_until(process, "epoch 2 of 500"))
    assert said[:4] == [
        "running small",
        "reading validation data",
        "reading train data",
        "baseline: starts",
    ]
    assert said[4] == "training the baseline"
    assert said[5].startswith("training the baseline: epoch 1 of 500: loss ")
    process.send_signal(number)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == code
    assert "error: stopped; finished steps and epochs are kept" in rest
    (run,) = (tmp_path / "runs" / "small").iterdir()
    assert {path.name for path in (run / "steps").iterdir()} == {"baseline.unfinished"}
    assert not list(tmp_path.rglob(".*"))
    assert not list(tmp_path.glob("squeeze-*"))
    log = (run / "log.txt").read_text()
    assert "training the baseline: epoch 1 of 500" in log
    assert log.endswith("  stopped\n")

    again = started(tmp_path, *command, "run", recipe, "--quiet")
    place = tmp_path / "runs" / "small"
    end = time.monotonic() + 200
    while "resumes after epoch" not in "".join(p.read_text() for p in place.glob("*/log.txt")):
        assert again.poll() is None, again.communicate()
        assert time.monotonic() < end
        time.sleep(0.1)
    again.send_signal(signal.SIGTERM)
    _, rest = again.communicate(timeout=60)
    assert (again.returncode, rest.count("\n")) == (143, 1)  # --quiet: the error and no progress
