"""Every mistake of a recipe is told at once, and what only follows from another one is not."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from squeeze.core.errors import RecipeError
from squeeze.recipe import plan
from squeeze.recipe.load import from_data, load_recipe

EVERYTHING: dict[str, Any] = {
    "version": 1,
    "name": "small",
    "model": {
        "build": "builtin:resnet8",
        "args": {"num_classes": 10, "in_channels": 1},
        "input": {"shape": [1, 12, 12], "mean": [0.3], "std": [0.35], "crop_fraction": 1.0},
    },
    "data": {
        "train": "builtin:digits",
        "validation": {"format": "digits", "split": "validation"},
        "calibration": {"from": "train", "samples": 32},
    },
    "baseline": {"train": {"epochs": 3, "lr": 0.1}},
    "steps": [
        {
            "method": "prune",
            "pruning_ratio": 0.5,
            "importance": "taylor",
            "finetune": {"epochs": 1, "lr": 0.05},
        },
        {
            "method": "distill",
            "teacher": "baseline",
            "epochs": 1,
            "losses": [{"name": "kd", "temperature": 4.0}],
        },
        {
            "method": "quantize",
            "scheme": "static_int8",
            "calibrator": {"name": "percentile", "percentile": 99.9},
            "keep_float": ["fc"],
        },
    ],
    "targets": [
        {"runtime": "onnxruntime", "name": "a", "precision": "int8"},
        {"runtime": "litert", "threads": 2},
    ],
    "gates": [
        {"metric": "macs", "min_reduction": 2},
        {"metric": "latency", "target": "a", "min_speedup": 1.1},
    ],
}


def problems(data: dict[str, Any]) -> list[str]:
    try:
        plan.check(from_data(copy.deepcopy(data), Path()))
    except RecipeError as error:
        return [str(problem).removeprefix("flags: ") for problem in error.problems]
    return []


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every value that holds no others."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in inner:
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))
        else:
            yield (*path, key)


def block_of(data: Any, path: tuple[str | int, ...]) -> Any:
    for part in path[:-1]:
        data = data[part]
    return data


LEAVES = [path for path in places(EVERYTHING) if path[:2] != ("model", "args")]


def test_mistakes_of_both_kinds_are_shown_together_in_the_order_of_the_file(tmp_path: Path) -> None:
    data = copy.deepcopy(EVERYTHING)
    data["model"]["build"] = "mobilenet"
    data["data"]["validation"] = {"format": "imagefolder", "path": "nowhere"}
    data["steps"][0]["pruning_ratio"] = 1.2
    data["steps"][0]["importance"] = "tailor"
    data["steps"][1]["losses"] = [{"name": "kdd"}, {"name": "kd", "temprature": 4}]
    data["steps"][2]["calibrator"] = {"name": "percentil"}
    data["targets"][0]["runtime"] = "onnx"
    data["targets"][1] |= {"device": "cuda", "threads": 0}
    data["gates"][0]["metric"] = "mac"
    data["gates"][1]["target"] = "b"
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    said = [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems]
    assert [line.partition(", allowed")[0].partition(";")[0] for line in said] == [
        "4:3: model.build: found 'mobilenet'",
        "21:5: data.validation.format: unknown format 'imagefolder'",
        "22:5: data.validation.path: no such folder: nowhere",
        "32:3: steps.0.pruning_ratio: found 1.2",
        "33:3: steps.0.importance: unknown importance 'tailor'",
        "41:5: steps.1.losses.0.name: unknown loss 'kdd'",
        "43:5: unknown key 'temprature'",
        "47:5: steps.2.calibrator.name: unknown calibrator 'percentil'",
        "51:3: targets.0.runtime: unknown runtime 'onnx'",
        "55:3: targets.1.threads: found 0",
        "56:3: targets.1.device: litert runs on cpu only here, found cuda",
        "58:3: gates.0: unknown metric 'mac'",
        "61:3: gates.1.target: unknown target 'b'",
    ]


def test_nothing_is_wrong_with_everything() -> None:
    assert problems(EVERYTHING) == []


@pytest.mark.parametrize("wrong", ["nonsense", [[]], -5])
def test_one_wrong_value_is_one_mistake(wrong: Any) -> None:
    for path in LEAVES:
        data = copy.deepcopy(EVERYTHING)
        block_of(data, path)[path[-1]] = wrong
        said = problems(data)
        assert len(said) <= (2 if path[:3] == ("model", "input", "shape") else 1), (path, said)


def test_one_misspelt_key_is_one_mistake() -> None:
    for path in LEAVES:
        key = path[-1]
        if isinstance(key, int) or key == "from":
            continue
        data = copy.deepcopy(EVERYTHING)
        block = block_of(data, path)
        block[f"{key}x"] = block.pop(key)
        said = problems(data)
        assert len(said) == 1, (path, said)
        assert f"'{key}x'" in said[0] or f"'{key}'" in said[0], (path, said)


def test_what_other_mistakes_hid_is_told_too() -> None:
    """Pydantic compares the values of a block only when each of them is right."""
    data = copy.deepcopy(EVERYTHING)
    data["steps"][0] |= {"macs": {"times_fewer": 2.0}}
    data["steps"][0]["finetune"]["epochs"] = "one"
    assert problems(data) == [
        "steps.0.finetune.epochs: found 'one', allowed: a valid integer",
        "steps.0: found macs, a ratio, needs exactly one of: pruning_ratio (or ratios), speedup, "
        "macs, params, size",
    ]


@pytest.mark.parametrize(
    "gone", [("version",), ("name",), ("data", "validation"), ("targets", 1, "runtime")]
)
def test_a_missing_key_hides_nothing(gone: tuple[str | int, ...]) -> None:
    data = copy.deepcopy(EVERYTHING)
    del block_of(data, gone)[gone[-1]]
    alone = problems(data)
    assert [line for line in alone if f"'{'.'.join(map(str, gone))}' is missing" in line] == alone
    data["data"]["train"] = {"format": "imagefolder"}
    data["targets"][0]["device"] = "cuda"
    data["steps"][0]["importance"] = "tailor"
    said = problems(data)
    assert set(alone) < set(said)
    for place in ("data.train.format", "targets.0.device", "steps.0.importance"):
        assert [line for line in said if line.startswith(f"{place}: ")], (place, said)


def test_a_model_is_checked_where_its_weights_are_wrong() -> None:
    for weights in ("nowhere.pth", 5):
        data = copy.deepcopy(EVERYTHING)
        data["model"] = {"build": "builtin:resnet9", "weights": weights}
        said = [line.partition(": ")[0] for line in problems(data)]
        assert {"model.build", "model.weights"} <= set(said), said


def test_a_gate_s_target_is_checked_where_the_task_is_wrong() -> None:
    data = copy.deepcopy(EVERYTHING)
    data["task"] = "detect"
    data["gates"][1]["target"] = "tflite"
    assert [line.partition(": ")[0] for line in problems(data)] == ["task", "gates.1.target"]


def test_what_follows_from_a_mistake_is_not_told() -> None:
    data = copy.deepcopy(EVERYTHING)
    data["data"]["train"] = 5  # nothing needs data.train: it is given, and wrong
    data["targets"][0]["name"] = "a b"  # no gate's target is unknown
    data["steps"][2]["scheme"] = "int8"  # no target waits in vain for int8
    assert sorted(line.partition(":")[0] for line in problems(data)) == [
        "data.train",
        "steps.2",
        "targets.0.name",
    ]


@pytest.mark.parametrize("data", [{}, {"model": []}, {"steps": {}}, {"targets": [[]]}, {"": None}])
def test_very_wrong_recipes_are_refused_like_any(data: dict[str, Any]) -> None:
    assert len(problems(data)) >= 4
