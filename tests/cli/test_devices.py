"""``squeeze run --devices``."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

COMMAND = (sys.executable, "-m", "squeeze")


def start(folder: Path, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )


@pytest.mark.slow
def test_two_processes_make_one_run(
    recipe_data: dict[str, Any], write_recipe: Callable[[Any], Path], tmp_path: Path
) -> None:
    del recipe_data["data"]["calibration"]
    recipe_data["steps"] = recipe_data["steps"][:1]
    recipe_data |= {"targets": [{"runtime": "pytorch"}], "gates": []}
    recipe = write_recipe(recipe_data)
    for _ in range(2):
        process = start(tmp_path, "run", recipe, "--devices", 2)
        _, narration = process.communicate()
        assert process.returncode == 0, narration
    together, taken_over = (
        json.loads(path.read_text())["models"]
        for path in sorted((tmp_path / "runs" / "small").glob("*/results.json"))
    )
    assert [state["name"] for state in together] == ["baseline", "1-prune"]
    assert together[0]["epochs"][-1]["score"] > 0.5
    assert all(state["reused_from"] for state in taken_over)


@pytest.mark.slow
def test_two_processes_train_and_distill_from_flags(
    recipe_data: dict[str, Any], write_recipe: Callable[[Any], Path], tmp_path: Path
) -> None:
    teacher = tmp_path / "teacher"
    process = start(
        tmp_path, "train", write_recipe(recipe_data), "--bundle", teacher, "--devices", 2
    )
    _, narration = process.communicate()
    assert process.returncode == 0, narration
    assert sorted(path.name for path in tmp_path.glob("teacher*")) == ["teacher"]
    flags = ["--train", "builtin:digits", "--validation", "builtin:digits", "--epochs", 1]
    flags += ["--target", "pytorch", "--save-recipe", "saved.yaml"]
    process = start(tmp_path, "distill", teacher, "--teacher", teacher, *flags, "--devices", 2)
    _, narration = process.communicate()
    assert process.returncode == 0, narration
    (found,) = tmp_path.glob("runs/*/*/results.json")
    assert [state["name"] for state in json.loads(found.read_text())["models"]] == [
        "baseline",
        "1-distill",
    ]


@pytest.mark.slow
def test_when_one_process_dies_the_run_ends_with_a_sentence(
    recipe_data: dict[str, Any], write_recipe: Callable[[Any], Path], tmp_path: Path
) -> None:
    recipe_data |= {"steps": [], "gates": [], "baseline": {"train": {"epochs": 500}}}
    process = start(tmp_path, "run", write_recipe(recipe_data), "--devices", 2)
    end = time.monotonic() + 200
    while not any(tmp_path.rglob("1.safetensors")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
    (other,) = psutil.Process(process.pid).children()
    other.send_signal(signal.SIGKILL)
    _, narration = process.communicate()
    assert process.returncode == 1
    assert "another process of this run has stopped" in narration
