"""``squeeze recipes`` and ``init``: recipes to start from, also those of an installed package."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from squeeze.recipe import shipped
from squeeze.recipe.load import load_recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    Squeeze = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]


def test_every_recipe_has_a_goal() -> None:
    assert set(shipped.names().values()) == set((ROOT / "recipes").glob("*.yaml"))
    for name, path in shipped.names().items():
        goal = shipped.goal(path)
        assert 20 < len(goal) < 300, name
        assert goal.endswith("."), name
        assert "Command" not in goal


def test_recipes_are_listed_and_copied(squeeze: "Squeeze", tmp_path: Path) -> None:
    listed = squeeze("recipes", "list").stdout
    assert all(name in listed for name in shipped.names())
    name = "digits_resnet8_prune50_qat_int8"
    assert squeeze("recipes", "copy", name).stdout.startswith(f"wrote {name}.yaml; edit it")
    text = (tmp_path / f"{name}.yaml").read_text()
    assert f"# Command: squeeze run {name}.yaml\n" in text
    assert text == shipped.find(name).read_text().replace("recipes/", "")
    assert squeeze("recipes", "copy", name, "my own.yaml").returncode == 0
    assert "# Command: squeeze run 'my own.yaml'\n" in (tmp_path / "my own.yaml").read_text()
    assert squeeze("check", f"{name}.yaml").returncode == 0
    again = squeeze("recipes", "copy", name)
    assert (again.returncode, again.stderr.splitlines()[0]) == (
        2,
        f"error: {name}.yaml: exists already",
    )
    wrong = squeeze("recipes", "copy", "digits_resnet8", "x.yaml")
    assert wrong.returncode == 2
    assert "unknown recipe 'digits_resnet8', allowed: bccd_ssdlite" in wrong.stderr


def test_init_has_templates(squeeze: "Squeeze", tmp_path: Path) -> None:
    for task in ("classification", "detection"):
        assert squeeze("init", f"{task}.yaml", "--task", task).returncode == 0
        assert load_recipe(tmp_path / f"{task}.yaml").recipe.task == task
    assert squeeze("init", "own.yaml", "--from", "bccd_tinydet").returncode == 0
    text = (tmp_path / "own.yaml").read_text()
    assert "# Command: squeeze run own.yaml \\\n" in text
    assert text == shipped.find("bccd_tinydet").read_text().replace("recipes/bccd_tinydet", "own")
    for flags, expected in (
        (("--task", "segmentation"), "--task: unknown task 'segmentation', allowed: "),
        (("--from", "nothing"), "unknown recipe 'nothing', allowed: "),
        (("--from", "bccd_tinydet", "--task", "detection"), "--task: follows from the recipe of"),
    ):
        done = squeeze("init", "x.yaml", *flags)
        assert done.returncode == 2
        assert expected in done.stderr
    assert not (tmp_path / "x.yaml").exists()


@pytest.mark.slow
def test_an_installed_wheel_has_the_recipes(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    tracked = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z"],  # noqa: S607
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")[:-1]
    for name in tracked:
        if name.startswith(("squeeze/", "recipes/")) or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, tmp_path], cwd=source, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    found = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import json; from squeeze.recipe import shipped; "
            "print(json.dumps([shipped.__file__, *shipped.names()]))",
        ],
        cwd=tmp_path / "installed",
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path / "installed")},
    )
    place, *names = json.loads(found.stdout)
    assert Path(place).is_relative_to(tmp_path / "installed")
    assert names == list(shipped.names())
