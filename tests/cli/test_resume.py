"""The command, killed in the middle of its training, and given again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file


def start(folder: Path, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "squeeze", *map(str, arguments)],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )


def kill_after_a_checkpoint(process: "subprocess.Popen[str]", root: Path) -> None:
    end = time.monotonic() + 120
    while not any(root.rglob("1.safetensors")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def finish(process: "subprocess.Popen[str]") -> str:
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out + err


@pytest.mark.slow
def test_a_killed_training_goes_on_and_leaves_only_its_bundle(
    recipe_data: dict[str, Any], write_recipe: Callable[[Any], Path], tmp_path: Path
) -> None:
    settings = {"epochs": 8, "lr": 0.1, "deterministic": True, "augment": {"shift": 1}}
    recipe_data |= {"baseline": {"train": settings}, "steps": [], "gates": []}
    recipe = write_recipe(recipe_data)
    finish(start(tmp_path, "train", recipe, "--bundle", "whole"))
    process = start(tmp_path, "train", recipe, "--bundle", "parts")
    kill_after_a_checkpoint(process, tmp_path / "parts.unfinished")
    assert "resumes after epoch" in finish(start(tmp_path, "train", recipe, "--bundle", "parts"))
    assert not (tmp_path / "parts.unfinished").exists()
    whole, parts = (load_file(tmp_path / n / "weights.safetensors") for n in ("whole", "parts"))
    assert all((whole[name] == parts[name]).all() for name in whole)


@pytest.mark.slow
def test_a_killed_run_goes_on_in_the_next_and_leaves_one_folder(
    recipe_data: dict[str, Any], write_recipe: Callable[[Any], Path], tmp_path: Path
) -> None:
    settings = {"epochs": 8, "lr": 0.1}
    recipe_data |= {"baseline": {"train": settings}, "steps": [], "gates": []}
    recipe = write_recipe(recipe_data)
    process = start(tmp_path, "run", recipe)
    kill_after_a_checkpoint(process, tmp_path / "runs")
    assert "training the baseline: resumes after epoch" in finish(start(tmp_path, "run", recipe))
    assert len(list((tmp_path / "runs" / "small").iterdir())) == 1
    assert not list((tmp_path / "runs").rglob("*.unfinished"))
