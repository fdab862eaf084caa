"""Run recipes from Python, however they come."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import squeeze
from squeeze import InputError
from squeeze.api.run import _loaded
from squeeze.recipe.load import from_data


@pytest.fixture
def small(recipe_data: dict[str, Any]) -> dict[str, Any]:
    recipe_data["baseline"]["train"]["epochs"] = 1
    recipe_data["steps"] = [{"method": "prune", "pruning_ratio": 0.5}]
    recipe_data["gates"] = []
    return recipe_data


def test_a_recipe_runs_however_it_comes(small: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(small))
    loaded = squeeze.load_recipe(path)
    for form in (path, small, loaded, loaded.recipe):
        assert _loaded(form, ()).recipe == loaded.recipe
    last = squeeze.run(small, output=str(tmp_path / "runs"))
    assert last.folder.path.parent == tmp_path / "runs" / "small"
    assert [record.name for record in last.results.models] == ["baseline", "1-prune"]
    assert last.passed
    assert last.results.models[-1].params == sum(one.numel() for one in last.model.parameters())
    assert [path.name for path in last.files] == ["baseline.onnx", "1-prune.onnx"]
    assert last.candidate == last.files[1:]
    assert all(path.is_file() for path in last.files)
    assert last.to_dict()["name"] == "small"
    assert "<td>1-prune</td>" in last._repr_html_()
    results, folder = last
    assert results is last.results
    assert folder is last.folder


def test_overrides_and_mistakes(small: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"steps\.0\.pruning_ratio: found 2"):
        squeeze.run(small, output=tmp_path, overrides=["steps.0.pruning_ratio=2"])
    assert small["steps"][0]["pruning_ratio"] == 0.5
    with pytest.raises(InputError, match="recipe: steps"):
        squeeze.run(small | {"steps": 3})
    with pytest.raises(InputError, match="overrides: found 'seed=1', expected a list of texts"):
        squeeze.run(small, output=tmp_path, overrides="seed=1")
    loaded = from_data(small, tmp_path)
    with pytest.raises(InputError, match="not for a recipe that is loaded already"):
        squeeze.run(loaded, output=tmp_path, overrides=["seed=1"])
    with pytest.raises(InputError, match="found a int, expected a file, a mapping or a Recipe"):
        squeeze.run(3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="output: found a int"):
        squeeze.run(loaded, output=3)  # type: ignore[arg-type]
