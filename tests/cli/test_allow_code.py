"""Every verb that opens a bundle refuses code that the user has not named, and takes the rest."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml

from squeeze.models import blocks, bundle
from squeeze.recipe.schema import InputSpec, ModelBlock

if TYPE_CHECKING:
    import subprocess

Squeeze = Callable[..., "subprocess.CompletedProcess[str]"]
NET = """\
from torch import nn

def make():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    )
"""
SPEC = InputSpec(shape=(1, 12, 12))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A bundle whose factory lies beside it."""
    (tmp_path / "net.py").write_text(NET)
    torch.manual_seed(0)
    made = blocks.build(ModelBlock(build="./net.py:make", input=SPEC), tmp_path)
    return bundle.save(made, tmp_path / "own")


def recipe(folder: Path, **model: Any) -> Path:
    content = {
        "version": 1,
        "name": "own",
        "model": model,
        "data": {"train": "builtin:digits", "validation": "builtin:digits"},
        "steps": [{"method": "prune", "pruning_ratio": 0.5, "align": 1}],
        "targets": [{"runtime": "pytorch"}],
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ["eval", "own", "--validation", "builtin:digits"],
        ["bench", "own"],
        ["export", "own", "--to", "onnx"],
        ["inspect", "own"],
        ["inspect", "pruning", "own"],
        ["quantize", "own", "--validation", "builtin:digits"],
        ["check", "recipe.yaml"],
        ["run", "recipe.yaml"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_verbs_refuse_a_bundles_code(
    squeeze: Squeeze, own: Path, tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "net.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    recipe(tmp_path, weights=own.name)
    done = squeeze(*arguments)
    assert done.returncode == 2, done.stderr
    assert "its record asks to run ../net.py:make()" in done.stderr
    assert f"--allow-code {tmp_path}/net.py:make" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_verbs_take_the_code_that_is_named(squeeze: Squeeze, own: Path, tmp_path: Path) -> None:
    done = squeeze("export", own, "--to", "onnx", "--allow-code", "net.py:make")
    assert done.returncode == 0, done.stderr
    recipe(tmp_path, weights=own.name)
    assert squeeze("check", "recipe.yaml", "--allow-code", "./net.py:make").returncode == 0
    done = squeeze("check", "recipe.yaml", "--allow-code", "./net.py:other")
    assert done.returncode == 2, done.stderr


def test_a_run_measures_and_reuses_bundles_of_the_factory_that_its_recipe_names(
    squeeze: Squeeze, own: Path, tmp_path: Path
) -> None:
    recipe(tmp_path, build="./net.py:make", weights=own.name)
    for _ in range(2):
        done = squeeze("run", "recipe.yaml")
        assert done.returncode == 0, done.stderr
    results = [json.loads(p.read_text()) for p in sorted(tmp_path.glob("runs/own/*/results.json"))]
    assert [state["reused_from"] is not None for state in results[1]["models"]] == [True, True]
    for row in results[1]["rows"]:
        assert row["peak_memory_bytes"] is not None  # its process loads the bundle too
