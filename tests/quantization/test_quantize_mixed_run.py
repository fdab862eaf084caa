"""Recipes that keep layers in float: from the pattern to the report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from squeeze.core.errors import InputError
from squeeze.pipeline.run import run
from squeeze.recipe.load import load_recipe

pytestmark = pytest.mark.usefixtures("portable_cpu")

WriteRecipe = Callable[[Any], Path]


def quantizing(recipe_data: dict[str, Any], **step: Any) -> dict[str, Any]:
    return recipe_data | {
        "steps": [{"method": "quantize", **step}],
        "targets": [{"runtime": "onnxruntime"}, {"runtime": "litert"}],
        "gates": [],
        "baseline": {"train": {"epochs": 1, "lr": 0.1}},
    }


def test_kept_layers_are_named_in_the_report(
    recipe_data: dict[str, Any], write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    block = {"metric": "agreement", "max_drop": 1, "samples": 32}
    data = quantizing(recipe_data, keep_float=["stages.1.0.conv1"], mixed_precision=block)
    results, folder = run(load_recipe(write_recipe(data)), output=tmp_path / "runs")
    reason = "kept in float by keep_float 'stages.1.0.conv1'"
    for row in results.rows:
        if row.precision == "int8":
            assert row.coverage is not None
            assert (row.coverage.int8, row.coverage.total) == (9, 10)
            assert [node.reason for node in row.coverage.survivors] == [reason]
    state = results.models[-1]
    assert [(search.target, search.met) for search in state.searches] == [
        ("onnxruntime", True),
        ("litert", True),
    ]
    assert any("all in int8 meets the limit" in note for note in state.notes)
    for name in ("report.md", "report.html"):
        text = (folder.path / name).read_text().replace("&#39;", "'")
        assert reason in text
        assert "Drop of agreement against the float file on 32 training images" in text


def test_a_pattern_that_names_nothing_is_refused_before_training(
    recipe_data: dict[str, Any], write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    data = quantizing(recipe_data, keep_float=["stages.1.0.conv9"])
    with pytest.raises(InputError) as caught:
        run(load_recipe(write_recipe(data)), output=tmp_path / "runs")
    assert str(caught.value).startswith(
        "steps.0.keep_float: 'stages.1.0.conv9' matches no layer; did you mean 'stages.1.0.conv"
    )
    assert not list((tmp_path / "runs").glob("*/*"))


@pytest.mark.parametrize("key", ["keep_float", "mixed_precision"])
def test_schemes_without_static_activations_refuse_it(
    key: str, recipe_data: dict[str, Any], write_recipe: WriteRecipe
) -> None:
    step = {"scheme": "dynamic_int8", key: ["fc"] if key == "keep_float" else {"max_drop": 0.01}}
    with pytest.raises(InputError, match=f"{key} has no effect on scheme dynamic_int8"):
        load_recipe(write_recipe(quantizing(recipe_data, **step)))
