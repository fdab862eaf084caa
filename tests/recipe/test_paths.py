"""Recipes in other folders mean the same."""

import os
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from squeeze.recipe import paths, plan
from squeeze.recipe.document import dump
from squeeze.recipe.load import from_data, load_recipe
from squeeze.recipe.schema import Block, DataSource, ModelBlock, Recipe
from squeeze.recipe.schema.base import StartsAtRecipe

PATHS = {
    (ModelBlock, "build"),
    (ModelBlock, "weights"),
    (ModelBlock, "backbone_weights"),
    (DataSource, "path"),
    (DataSource, "annotations"),
    (DataSource, "build"),
}


def blocks(annotation: Any, known: set[type[Block]]) -> set[type[Block]]:
    """Return every block that a recipe may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Block) and annotation not in known:
        known.add(annotation)
        for field in annotation.model_fields.values():
            blocks(field.annotation, known)
    for part in get_args(annotation):
        blocks(part, known)
    return known


def test_every_text_that_may_be_a_path_is_marked() -> None:
    every = blocks(Recipe, set())
    marked = {
        (block, key)
        for block in every
        for key in block.model_fields
        if paths._mark(block, key) is not None
    }
    assert marked == PATHS
    words = ("path", "file", "folder", "weights", "build", "annotations")
    named = {
        (block, key)
        for block in every
        for key in block.model_fields
        if any(word in key for word in words)
    }
    assert named - marked == set()
    assert isinstance(paths._mark(ModelBlock, "weights"), StartsAtRecipe)


@pytest.fixture
def recipe(tmp_path: Path) -> dict[str, Any]:
    """A recipe with a path in every place, and the files that it names."""
    home = tmp_path / "home"
    for name in ("images", "voc", "yolo", "mnist", "idx", "bundle", "real"):
        (home / name).mkdir(parents=True)
    for name in ("net.py", "w.pth", "boxes.json", "yolo/data.yaml"):
        (home / name).touch()
    (home / "bundle" / "architecture.json").write_text('{"build": "builtin:resnet8"}')
    (home / "linked").symlink_to(home / "real")
    return {
        "version": 1,
        "name": "x",
        "task": "detection",
        "model": {
            "build": "net.py:make",
            "weights": "w.pth",
            "input": {"shape": [3, 8, 8], "fit": "stretch"},
        },
        "data": {
            "train": {"format": "coco", "path": "images", "annotations": "./boxes.json"},
            "validation": "voc:voc",
            "calibration": "yolo:yolo/data.yaml",
        },
        "steps": [
            {
                "method": "distill",
                "epochs": 1,
                "losses": [{"name": "detector_kd"}],
                "teacher": {"weights": "bundle"},
                "student": {"build": "./net.py:small", "backbone_weights": "../home/w.pth"},
            }
        ],
        "targets": [{"runtime": "onnxruntime"}],
    }


def resolved(found: Any, folder: Path) -> dict[str, str]:
    """Return every path of a recipe, from the root on."""
    step = found.steps[0]
    texts = {
        "build": found.model.build,
        "weights": found.model.weights,
        "images": found.data.train.path,
        "boxes": found.data.train.annotations,
        "voc": found.data.validation.path,
        "yolo": found.data.calibration.path,
        "teacher": step.teacher.weights,
        "student": step.student.build,
        "backbone": step.student.backbone_weights,
    }
    return {key: os.path.realpath(folder / str(text)) for key, text in texts.items()}


@pytest.mark.parametrize("where", ["home/deep/down", "other", "home", "."])
def test_a_moved_recipe_names_the_same_files(
    where: str, recipe: dict[str, Any], tmp_path: Path
) -> None:
    home, there = tmp_path / "home", tmp_path / where
    given = from_data(recipe, home)
    plan.check(given)
    moved = paths.moved(given.recipe, home, there)
    there.mkdir(parents=True, exist_ok=True)
    file = there / "r.yaml"
    file.write_text(dump(paths.plain(moved)))
    found = load_recipe(file)
    plan.check(found)
    assert resolved(found.recipe, there) == resolved(given.recipe, home)
    back = paths.moved(found.recipe, there, home)
    assert resolved(back, home) == resolved(given.recipe, home)


def test_what_is_no_path_stays(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe |= {
        "task": "classification",
        "model": {"build": "timm:resnet18", "weights": "package:net/w.pth"},
        "data": {
            "train": "torchvision:MNIST:mnist",
            "validation": "torchvision:MNIST",
            "calibration": "package.module:make",
        },
        "steps": [{"method": "distill", "epochs": 1, "teacher": "baseline"}],
    }
    moved = paths.moved(from_data(recipe, tmp_path).recipe, tmp_path, tmp_path / "a" / "b")
    written = paths.plain(moved)
    assert written["model"] == recipe["model"]
    assert written["data"] == {
        "train": {"format": "torchvision", "name": "MNIST", "path": "../../mnist"},
        "validation": {"format": "torchvision", "name": "MNIST"},
        "calibration": {"format": "function", "build": "package.module:make"},
    }
    assert written["steps"] == recipe["steps"]
    absolute = recipe | {"data": {"validation": str(tmp_path)}}
    moved = paths.moved(from_data(absolute, tmp_path).recipe, tmp_path, tmp_path / "a")
    assert moved.data.validation.path == str(tmp_path)


def test_links_stay_links_and_dots_behind_them_lead_on(tmp_path: Path, recipe: Any) -> None:
    home = tmp_path / "home"
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (home / "jump").symlink_to(tmp_path / "far" / "deep")
    (tmp_path / "far" / "voc").mkdir()
    recipe["data"] = {"validation": "voc:linked", "train": "voc:jump/../voc"}
    moved = paths.moved(from_data(recipe, home).recipe, home, home / "deep")
    assert moved.data.validation.path == "../linked"
    assert moved.data.train is not None
    assert os.path.realpath(home / "deep" / str(moved.data.train.path)) == str(
        tmp_path / "far" / "voc"
    )


def test_the_recipe_in_a_runs_folder_runs_there(recipe: dict[str, Any], tmp_path: Path) -> None:
    from squeeze.report import write

    home = tmp_path / "home"
    given = from_data(recipe, home)
    run = tmp_path / "runs" / "x" / "1"
    write.recipe(given.recipe, home, run)
    found = load_recipe(run / "recipe.resolved.yaml")
    plan.check(found)
    assert resolved(found.recipe, run) == resolved(given.recipe, home)
    assert yaml.safe_load((run / "recipe.resolved.yaml").read_text())["seed"] == 0


def test_random_weights_are_no_path_and_a_file_of_that_name_stays_one(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for weights, expected in (("random", "random"), ("../random", "./random")):
        recipe = from_data(
            {
                "version": 1,
                "name": "moved",
                "model": {"build": "builtin:resnet8", "weights": weights},
                "data": {"validation": "builtin:digits"},
                "steps": [{"method": "prune", "pruning_ratio": 0.5}],
                "targets": [{"runtime": "onnxruntime"}],
            },
            tmp_path,
        ).recipe
        found = paths.moved(recipe, tmp_path / "below", tmp_path)
        assert found.model.weights == expected
