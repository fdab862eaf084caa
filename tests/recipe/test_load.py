"""Reading recipes: every mistake at once, at its place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from squeeze.core.errors import RecipeError
from squeeze.recipe.load import from_data, load_recipe
from squeeze.recipe.schema import DataSource, DistillStep, PruneStep, Recipe

Write = Callable[[Any], Path]

ALL_WRONG = """\
version: 1
name: x
model:
  build: builtin:resnet8
  wieghts: a
  input: {shape: [1, 16, 16]}
data:
  validation: builtin:digits
  validation: builtin:digits
steps:
  - method: prune
    pruning_ratio: 1.2
    finetune: {epochs: 3e-4, lr: 3e-4}
  - method: prun
  - method: distill
    teacher: basline
    epochs: two
targets:
  - {runtime: onnxruntime, precsion: fp32}
gates:
  - {metric: latensy}
  - {metric: latency}
"""


def messages(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    assert caught.value.exit_code == 2
    return [str(problem).replace(str(path), "f") for problem in caught.value.problems]


def test_all_mistakes_are_shown_at_once_with_their_place(write_recipe: Write) -> None:
    assert messages(write_recipe(ALL_WRONG)) == [
        "f:5:3: unknown key 'wieghts', allowed: args, backbone_weights, build, input, weights; "
        "did you mean 'weights'?",
        "f:9:3: duplicate key 'validation', first given at f:8:3",
        "f:11:5: steps.0: trains, which needs data.train",
        "f:12:5: steps.0.pruning_ratio: found 1.2, allowed: less than 1",
        "f:13:16: steps.0.finetune.epochs: found 0.0003, allowed: a valid integer",
        "f:14:5: steps.1: unknown method 'prun', allowed: distill, prune, quantize; "
        "did you mean 'prune'?",
        "f:15:5: steps.2: trains, which needs data.train",
        "f:16:5: steps.2.teacher: found 'basline', allowed: baseline; did you mean 'baseline'?",
        "f:17:5: steps.2.epochs: found 'two', allowed: a valid integer",
        "f:19:28: unknown key 'precsion', allowed: batch_size, cpu, device, if_available, "
        "name, nms, precision, runtime, threads; did you mean 'precision'?",
        "f:21:5: gates.0: unknown metric 'latensy', allowed: agreement, ap50, int8_coverage, "
        "latency, macs, map, params, size, top1, top5; did you mean 'latency'?",
        "f:22:5: gates.1: has no limit, allowed: max_latency_s, min_speedup",
    ]


def test_a_gate_without_a_limit_is_a_mistake(
    write_recipe: Write, recipe_data: dict[str, Any]
) -> None:
    recipe_data["gates"] = [{"metric": "latency"}]
    assert messages(write_recipe(recipe_data)) == [
        "f:12:3: gates.0: has no limit, allowed: max_latency_s, min_speedup"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1", "f:2:1: is not YAML: expected ',' or ']', but got '<stream end>'"),
        ("", "f:1:1: found nothing, a recipe is a mapping of keys"),
        ("- 1", "f:1:1: found a list, a recipe is a mapping of keys"),
    ],
)
def test_what_is_no_recipe_is_refused(write_recipe: Write, text: str, expected: str) -> None:
    path = write_recipe(text + "\n")
    assert messages(path)[0] == expected


def test_tags_never_run_code(write_recipe: Write, recipe_data: dict[str, Any]) -> None:
    text = yaml.safe_dump(recipe_data).replace("name: small", "name: !!python/name:os.system x")
    assert any("recipes allow no tags" in line for line in messages(write_recipe(text)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert messages(tmp_path / "no.yaml") == ["f: no such file"]


def test_scalars_follow_yaml_1_2(write_recipe: Write, recipe_data: dict[str, Any]) -> None:
    text = yaml.safe_dump(recipe_data)
    text = text.replace("lr: 0.1", "lr: 3e-4").replace("num_classes: 10", "num_classes: no")
    text = text.replace("min_reduction: 2", "max: 4_000_000")
    recipe = load_recipe(write_recipe(text)).recipe
    assert recipe.baseline is not None
    assert recipe.baseline.train.lr == 3e-4
    assert recipe.model.args["num_classes"] == "no"
    assert recipe.gates[0].max == 4_000_000  # type: ignore[union-attr]


def test_numbers_are_not_made_from_booleans_or_text(
    write_recipe: Write, recipe_data: dict[str, Any]
) -> None:
    recipe_data["baseline"]["train"] |= {"epochs": True, "lr": "0.1"}
    found = messages(write_recipe(recipe_data))
    assert [line.split(": ", 1)[1] for line in found] == [
        "baseline.train.epochs: found True, allowed: a valid integer",
        "baseline.train.lr: found '0.1', allowed: a valid number",
    ]


def test_overrides_reach_every_depth(write_recipe: Write, recipe_data: dict[str, Any]) -> None:
    loaded = load_recipe(
        write_recipe(recipe_data),
        (
            "steps.0.pruning_ratio=0.25",
            "steps.1.losses=[{name: kd, temperature: 2}]",
            "data.train.samples=100",
            "baseline.train.augment.shift=3",
            "gates.1={metric: top1, min: 0.5}",
        ),
    )
    prune, distill = loaded.recipe.steps[:2]
    assert isinstance(prune, PruneStep)
    assert prune.pruning_ratio == 0.25
    assert isinstance(distill, DistillStep)
    assert distill.losses[0].temperature == 2
    assert loaded.recipe.data.train == DataSource(format="digits", samples=100)
    assert loaded.recipe.baseline is not None
    assert loaded.recipe.baseline.train.augment.shift == 3
    assert len(loaded.recipe.gates) == 2


def test_mistakes_in_overrides_name_the_override(
    write_recipe: Write, recipe_data: dict[str, Any]
) -> None:
    path = write_recipe(recipe_data)
    assert messages(path, "steps.0.pruning_ratio=2") == [
        "--set steps.0.pruning_ratio=2: steps.0.pruning_ratio: found 2, allowed: less than 1"
    ]
    assert messages(path, "steps.9.pruning_ratio=0.2", "nonsense") == [
        "--set steps.9.pruning_ratio=0.2: there is no 'steps.9' in the recipe",
        "--set nonsense: found no 'path=value', for example steps.0.pruning_ratio=0.5",
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    ratio=st.floats(0, 0.99),
    lr=st.floats(1e-6, 10),
    name=st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    seed=st.integers(0, 2**31),
)
def test_a_dumped_recipe_loads_equal(
    write_recipe: Write,
    recipe_data: dict[str, Any],
    ratio: float,
    lr: float,
    name: str,
    seed: int,
) -> None:
    recipe_data["steps"][0]["pruning_ratio"] = ratio
    recipe_data["baseline"]["train"]["lr"] = lr
    recipe_data |= {"name": name, "seed": seed}
    recipe = from_data(recipe_data, Path()).recipe
    dumped = yaml.safe_dump(recipe.model_dump(mode="json", by_alias=True))
    assert load_recipe(write_recipe(dumped)).recipe == recipe


def test_the_json_schema_accepts_a_recipe(recipe_data: dict[str, Any]) -> None:
    import jsonschema

    recipe_data["data"]["train"] = {"format": "digits"}
    jsonschema.validate(recipe_data, Recipe.model_json_schema(by_alias=True))
    recipe_data["steps"][0]["pruning_ratio"] = 1.2
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(recipe_data, Recipe.model_json_schema(by_alias=True))


def test_a_mean_of_pixels_up_to_255_is_refused(recipe_data: dict[str, Any]) -> None:
    recipe_data["model"]["input"] |= {"mean": [123.675], "std": [58.395]}
    with pytest.raises(RecipeError, match=r"mean is of pixels in \[0, 1\], found 123.675: divide"):
        from_data(recipe_data, Path())
