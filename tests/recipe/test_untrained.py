"""A model without weights is refused, unless the recipe says that it is meant to be random."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from squeeze.core.errors import RecipeError
from squeeze.recipe import plan, untrained
from squeeze.recipe.load import from_data
from squeeze.recipe.schema import ModelBlock

INPUT = {"shape": [3, 32, 32]}
CURE = (
    "; name its 'weights', train it ('baseline: {train: …}'), or write 'weights: random' "
    "if that is meant"
)


def found(data: dict[str, Any], folder: Path) -> list[str]:
    try:
        plan.check(from_data(data, folder))
    except RecipeError as error:
        return [str(problem).removeprefix("flags: ") for problem in error.problems]
    return []


@pytest.fixture
def bare(recipe_data: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """A recipe that trains no baseline, with this model block."""

    def make(**block: Any) -> dict[str, Any]:
        recipe_data.pop("baseline", None)
        return recipe_data | {"model": {"input": INPUT} | block, "steps": [], "gates": []}

    return make


@pytest.mark.parametrize(
    ("block", "what"),
    [
        ({"build": "builtin:resnet8"}, "has no weights: builtin:resnet8 would be measured with"),
        ({"build": "torchvision:resnet18"}, "has no weights: torchvision:resnet18 would be"),
        ({"build": "torchvision.models:resnet18"}, "has no weights: torchvision.models:resnet18"),
        ({"build": "timm:resnet18"}, "has no weights: timm:resnet18 would be measured with"),
        ({"build": "timm:resnet18", "args": {"pretrained": False}}, "has no weights: timm:"),
        ({"build": "torchvision:resnet18", "args": {"weights": None}}, "has no weights: torchvi"),
        ({"build": "transformers:yolos"}, "has no weights: transformers:yolos would be measured"),
        (
            {"build": "builtin:tinydet", "backbone_weights": "w.safetensors"},
            "has weights for its backbone only: the rest of builtin:tinydet would be random",
        ),
    ],
)
def test_a_librarys_model_without_weights_is_refused(
    block: dict[str, Any], what: str, bare: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "w.safetensors").touch()
    (problem,) = found(bare(**block), tmp_path)
    assert problem.startswith(f"model: {what}")
    assert problem.endswith(CURE)
    assert found(bare(**block, weights="random"), tmp_path) == []


@pytest.mark.parametrize(
    "block",
    [
        {"build": "builtin:resnet8", "weights": "w.safetensors"},
        {"build": "torchvision:resnet18", "args": {"weights": "DEFAULT"}},
        {"build": "timm:resnet18", "args": {"pretrained": True}},
        {"build": "timm:resnet18", "args": {"checkpoint_path": "w.safetensors"}},
        {"build": "./net.py:make"},
        {"build": "my_package.nets:make"},
    ],
)
def test_a_model_that_has_or_may_have_its_own_weights_is_not(
    block: dict[str, Any], bare: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    for name in ("w.safetensors", "net.py"):
        (tmp_path / name).touch()
    assert found(bare(**block), tmp_path) == []


def test_a_baseline_that_is_trained_starts_from_nothing(
    recipe_data: dict[str, Any], tmp_path: Path
) -> None:
    assert "weights" not in recipe_data["model"]
    assert found(recipe_data, tmp_path) == []


def test_a_teacher_needs_weights_and_a_student_that_it_trains_does_not(
    recipe_data: dict[str, Any], tmp_path: Path
) -> None:
    net = {"build": "builtin:resnet8", "args": {"num_classes": 10, "in_channels": 1}}
    step = {"method": "distill", "epochs": 1, "teacher": "baseline", "student": net}
    recipe_data |= {"steps": [step], "gates": []}
    assert found(recipe_data, tmp_path) == []
    recipe_data["steps"] = [step | {"teacher": net}]
    (problem,) = found(recipe_data, tmp_path)
    assert problem == (
        "steps.0.teacher: has no weights: builtin:resnet8 would be measured with random ones; name "
        "its 'weights', or write 'weights: random' if that is meant"
    )
    recipe_data["steps"] = [step | {"teacher": net | {"weights": "random"}}]
    assert found(recipe_data, tmp_path) == []


def test_other_classes_than_a_saved_folders_start_anew(tmp_path: Path) -> None:
    folder = tmp_path / "yolos"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"id2label": {"0": "a", "1": "b"}}))
    block = {"weights": "yolos", "input": INPUT}

    def reason(**args: int) -> str | None:
        return untrained.reason(ModelBlock.model_validate(block | {"args": args}), tmp_path)

    assert reason() is None
    assert reason(num_labels=2) is None
    assert reason(num_labels=3) == "is saved for 2 classes: the layers for 3 would be random"
    (folder / "config.json").write_text("{")
    assert reason(num_labels=3) is None  # told of where it is loaded


def test_a_file_called_random_can_still_be_named(
    bare: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    data = bare(build="builtin:resnet8", weights="./random")
    assert found(data, tmp_path) == ["model.weights: no such file or folder: ./random"]
    (tmp_path / "random").touch()
    assert found(data, tmp_path) == []
