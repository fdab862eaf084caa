"""What a recipe for detection must and must not say."""

from pathlib import Path
from typing import Any

import pytest

from squeeze.core.errors import RecipeError
from squeeze.recipe import plan
from squeeze.recipe.load import from_data


@pytest.fixture
def scenes(recipe_data: dict[str, Any]) -> dict[str, Any]:
    """A recipe for detection, without steps."""
    recipe_data["task"] = "detection"
    recipe_data["steps"], recipe_data["gates"] = [], []
    recipe_data["model"]["input"] = {"shape": [3, 64, 64], "fit": "letterbox"}
    recipe_data["data"] = {"train": "builtin:digit_scenes", "validation": "builtin:digit_scenes"}
    return recipe_data


def found(data: dict[str, Any], folder: Path | None = None) -> list[str]:
    try:
        plan.check(from_data(data, folder or Path()))
    except RecipeError as error:
        return [str(problem).removeprefix("flags: ") for problem in error.problems]
    return []


def test_a_recipe_for_detection_passes(scenes: dict[str, Any], tmp_path: Path) -> None:
    assert found(scenes) == []
    (tmp_path / "images").mkdir()
    (tmp_path / "boxes.json").write_text("{}")
    scenes["data"]["train"] = {
        "format": "coco",
        "path": "images",
        "annotations": "boxes.json",
        "classes": ["a", "b"],
        "class_map": {"c": None},
        "on_bad_boxes": "repair",
    }
    for name in ("voc", "yolo"):
        scenes["data"]["validation"] = {"format": name, "path": "images", "image_set": "test"}
        assert found(scenes, tmp_path) == []


def test_keys_belong_to_their_formats(scenes: dict[str, Any], tmp_path: Path) -> None:
    scenes["data"]["train"] = {"format": "coco", "path": ".", "image_set": "train"}
    scenes["data"]["validation"] = {"format": "digit_scenes", "on_bad_boxes": "repair"}
    assert found(scenes, tmp_path) == [
        "data.train: format 'coco' needs 'annotations'",
        "data.train.image_set: format 'coco' does not use 'image_set'; it uses annotations, "
        "class_map, on_bad_boxes, path",
        "data.validation.on_bad_boxes: format 'digit_scenes' does not use 'on_bad_boxes'; it uses "
        "args, split",
    ]
    scenes["data"]["train"] = {"format": "coco", "path": ".", "annotations": "no.json"}
    scenes["data"]["validation"] = "builtin:digit_scenes"
    assert found(scenes, tmp_path) == ["data.train.annotations: no such file: no.json"]
    scenes["data"]["train"] = {"format": "voc", "path": ".", "classes": ["a", "b", "a"]}
    assert "classes names a more than once" in found(scenes, tmp_path)[0]


def test_data_and_task_must_agree(scenes: dict[str, Any]) -> None:
    scenes["data"]["validation"] = "builtin:digits"
    assert found(scenes) == [
        "data.validation.format: 'digits' has no boxes; task: detection takes coco, "
        "digit_scenes, function, voc, yolo"
    ]
    scenes["task"] = "classification"
    assert found(scenes) == ["data.train.format: 'digit_scenes' has boxes; set task: detection"]


def test_boxes_must_not_be_cut_away(scenes: dict[str, Any]) -> None:
    del scenes["model"]["input"]["fit"]
    assert found(scenes) == [
        "model.input: fit: crop may cut objects off; set fit: letterbox (keeps proportions) or "
        "stretch"
    ]


def test_augmentation_is_of_one_kind(scenes: dict[str, Any]) -> None:
    train = scenes["baseline"]["train"]
    train |= {"balance_classes": True, "augment": {"mixup": 0.2, "flip": True, "mosaic": 0.5}}
    assert found(scenes) == [
        "baseline.train.augment.mixup: is for images with one class each",
        "baseline.train.balance_classes: is for images with one class each",
    ]
    train["augment"] = {"scale_jitter": [1.5, 0.5]}
    assert "is not in rising order" in found(scenes)[0]


def test_suppression_inside_is_for_onnx_runtime(scenes: dict[str, Any]) -> None:
    scenes["targets"] = [{"runtime": name, "nms": True} for name in ("onnxruntime", "litert")]
    assert found(scenes) == ["targets.1.nms: is for onnxruntime, not for litert"]


def test_suppression_inside_is_for_detectors(recipe_data: dict[str, Any]) -> None:
    recipe_data["targets"][0]["nms"] = True
    assert found(recipe_data) == ["targets.0.nms: is for task: detection"]


def test_augmentation_of_boxes_is_not_for_classes(recipe_data: dict[str, Any]) -> None:
    recipe_data["steps"][0]["finetune"]["augment"] = {"mosaic": 0.5}
    recipe_data["steps"][1]["augment"] = {"iou_crop": 1.0}
    assert found(recipe_data) == [
        "steps.0.finetune.augment.mosaic: is for images with boxes",
        "steps.1.augment.iou_crop: is for images with boxes",
    ]


def test_gates_losses_and_smoothing_are_of_the_task(
    scenes: dict[str, Any], recipe_data: dict[str, Any]
) -> None:
    assert recipe_data is scenes
    scenes["baseline"]["train"]["label_smoothing"] = 0.1
    scenes["steps"] = [{"method": "distill", "teacher": "baseline", "epochs": 1}]
    scenes["gates"] = [{"metric": "top1", "max_drop": 0.01}, {"metric": "map", "min": 0.1}]
    smoothing, loss, gate = found(scenes)
    assert smoothing == (
        "baseline.train.label_smoothing: is for classification; the losses of detectors have their "
        "own"
    )
    assert loss.startswith("steps.0.losses.0.name: 'kd' is not for detection; allowed: ab, at, d")
    assert gate == (
        "gates.0.metric: metric 'top1' is not available for detection; available: map, ap50, "
        "agreement"
    )
    scenes["steps"][0]["losses"] = [{"name": "detector_kd"}, {"name": "fgd"}]
    assert found(scenes) == [smoothing, gate]


def test_gates_on_boxes_are_not_for_classes(recipe_data: dict[str, Any]) -> None:
    recipe_data["gates"] = [{"metric": "ap50", "max_drop": 0.01}]
    assert found(recipe_data) == [
        "gates.0.metric: metric 'ap50' is not available for classification; available: top1, "
        "top5, agreement"
    ]
