"""What two-stage detectors cannot do is said before torch is imported."""

import json
from pathlib import Path
from typing import Any

import pytest

from squeeze.core.errors import RecipeError
from squeeze.recipe import plan
from squeeze.recipe.load import from_data

MODEL = {
    "build": "torchvision:fasterrcnn_resnet50_fpn",
    "weights": "random",
    "input": {"shape": [3, 64, 64], "fit": "letterbox"},
}


def found(data: dict[str, Any], folder: Path) -> list[str]:
    try:
        plan.check(from_data(data, folder))
    except RecipeError as error:
        return [str(problem).removeprefix("flags: ") for problem in error.problems]
    return []


@pytest.fixture
def detects(recipe_data: dict[str, Any]) -> dict[str, Any]:
    recipe_data |= {"task": "detection", "steps": [], "gates": [], "model": dict(MODEL)}
    recipe_data["data"] = {
        "train": "builtin:digit_scenes",
        "validation": "builtin:digit_scenes",
        "calibration": {"from": "train", "samples": 8},
    }
    recipe_data["targets"] = [{"runtime": "onnxruntime"}]
    recipe_data.pop("baseline", None)
    return recipe_data


def test_pruning_and_int8_pass(detects: dict[str, Any], tmp_path: Path) -> None:
    detects["steps"] = [
        {"method": "prune", "importance": "l2", "pruning_ratio": 0.3},
        {"method": "quantize", "scheme": "static_int8"},
    ]
    assert found(detects, tmp_path) == []


def test_what_does_not_work_is_said(detects: dict[str, Any], tmp_path: Path) -> None:
    training = {"epochs": 1, "lr": 0.01}
    detects["baseline"] = {"train": training}
    detects["targets"] += [
        {"runtime": "litert"},
        {"runtime": "onnxruntime", "name": "b", "nms": True},
    ]
    detects["steps"] = [
        {"method": "prune", "importance": "taylor", "pruning_ratio": 0.3, "finetune": training},
        {"method": "distill", "teacher": "baseline", "losses": [{"name": "fgd"}], **training},
        {"method": "quantize", "scheme": "fp16"},
    ]
    places = {line.partition(": ")[0] for line in found(detects, tmp_path) if "two-stage" in line}
    assert places == {
        "baseline.train",
        "targets.1.runtime",
        "targets.2.nms",
        "steps.0.finetune",
        "steps.0.importance",
        "steps.1",
        "steps.2.scheme",
    }


def test_a_bundle_of_one_is_known(detects: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    detects["targets"] = [{"runtime": "litert"}]
    detects["model"] = {"weights": "bundle"}
    record = tmp_path / "bundle" / "architecture.json"
    record.write_text(json.dumps({"build": "torchvision:maskrcnn_resnet50_fpn"}))
    assert "litert has operators for neither" in found(detects, tmp_path)[0]


@pytest.mark.parametrize("content", ["", "{", "[]", "5", "{}", '{"build": null}'])
def test_a_broken_bundle_is_told(detects: dict[str, Any], tmp_path: Path, content: str) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "architecture.json").write_text(content)
    detects["model"] = {"weights": "bundle"}
    assert found(detects, tmp_path) == ["model.weights: bundle/architecture.json is damaged"]
