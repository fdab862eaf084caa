"""A run whose model is meant to be random, as its recipe says."""

from pathlib import Path
from typing import Any

import pytest

import squeeze
from squeeze.measure import latency
from squeeze.recipe.load import from_data


def test_random_weights_are_those_of_the_seed_and_a_warning_heads_the_report(
    recipe_data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "_MAX_ROUNDS", 15)
    recipe_data |= {"steps": [], "gates": [], "targets": [{"runtime": "pytorch"}]}
    del recipe_data["baseline"], recipe_data["data"]["train"], recipe_data["data"]["calibration"]
    recipe_data["model"]["weights"] = "random"
    loaded = from_data(recipe_data, tmp_path)
    found = [squeeze.run(loaded, output=tmp_path / name) for name in ("a", "b")]
    weights = [run.path / "steps/baseline/weights.safetensors" for _, run in found]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    results, run = found[0]
    assert results.models[0].notes == ("random weights, as the recipe says",)
    assert results.warnings[0].startswith("baseline on pytorch ")
    lines = (run.path / "report.md").read_text(encoding="utf-8").splitlines()
    assert lines[4] == "## Read this first"
    assert lines[6] == f"- {results.warnings[0]}"
