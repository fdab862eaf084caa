"""Runs that fail or lose their folder: what is said, where, and what the log keeps."""

import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

import squeeze
from squeeze.core.errors import SqueezeError
from squeeze.core.types import Advance, Silent

Write = Callable[[Any], Path]

NET = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(144, 10)

    def forward(self, images):
        return torch.special.bessel_j0(self.layer(images.flatten(1)))


def make():
    return Net()
"""


@pytest.fixture
def recipe(recipe_data: dict[str, Any], write_recipe: Write, tmp_path: Path) -> Path:
    """A recipe that only exports a model, which ONNX has no operator for."""
    (tmp_path / "net.py").write_text(NET)
    recipe_data["model"] = {
        "build": "./net.py:make",
        "input": recipe_data["model"]["input"],
    }
    del recipe_data["baseline"]
    return write_recipe(
        recipe_data | {"data": {"validation": "builtin:digits"}, "steps": [], "gates": []}
    )


def test_an_exporters_error_shows_its_cause_and_the_log_has_all_of_it(
    recipe: Path, tmp_path: Path
) -> None:
    with pytest.raises(SqueezeError) as raised:
        squeeze.run(squeeze.load_recipe(recipe), output=tmp_path / "runs")
    (log,) = (tmp_path / "runs").glob("*/*/log.txt")
    text = str(raised.value)
    assert "the ONNX exporter failed: DispatchError: No ONNX function found for" in text
    assert "bessel_j0" in text
    assert str(log) in text
    assert "\x1b" not in text
    written = log.read_text()
    assert re.search(r"^[-\d]+ [:\d]+  exporting baseline for onnxruntime$", written, re.MULTILINE)
    assert "error: ./net.py:make: the ONNX exporter failed: DispatchError" in written
    assert "Traceback (most recent call last)" in written
    assert "torch.onnx" in written
    assert "\x1b" not in written
    assert not list((tmp_path / "runs").rglob(".*"))


class Removes(Silent):
    """Removes the output folder when the export starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def task(self, description: str, total: int) -> AbstractContextManager[Advance]:
        if description.startswith("exporting"):
            shutil.rmtree(self.folder)
        return super().task(description, total)


def test_an_output_folder_that_vanishes_during_export_is_named(
    recipe: Path, tmp_path: Path
) -> None:
    output = tmp_path / "runs"
    (tmp_path / "net.py").write_text(NET.replace("torch.special.bessel_j0", "torch.relu"))
    with pytest.raises(SqueezeError, match="was removed during the run") as raised:
        squeeze.run(squeeze.load_recipe(recipe), output=output, progress=Removes(output))
    assert raised.value.where is not None
    assert raised.value.where.startswith(str(output / "small"))
    assert not list(output.rglob("*.onnx"))
