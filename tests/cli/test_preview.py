"""``squeeze preview``."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image


def run(folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "squeeze", "preview", *map(str, arguments)],
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
    )


def test_it_writes_a_picture_and_tells_where(
    recipe_data: dict[str, Any], write_recipe: Callable[[Any], Path], tmp_path: Path
) -> None:
    recipe = write_recipe(recipe_data)
    done = run(tmp_path, recipe, "--images", 9, "--set", "baseline.train.augment.mixup=0.4")
    assert (done.returncode, done.stdout) == (0, "preview  preview.png\n"), done.stderr
    with Image.open(tmp_path / "preview.png") as sheet:
        assert sheet.size == (3 * 120 + 8, 3 * 144 + 8)
    done = run(tmp_path, recipe, "--training", "3-prune")
    assert done.returncode == 2
    assert "unknown training '3-prune', allowed: 1-prune, 2-distill, baseline" in done.stderr
