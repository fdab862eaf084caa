"""Steps that are reused are those that this run would have made."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from squeeze.core.journal import Journal
from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.models.blocks import build
from squeeze.pipeline import models
from squeeze.pipeline.steps import RunContext
from squeeze.recipe.schema import Recipe
from squeeze.store import RunFolder
from squeeze.tasks.classification import task as classification


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def short(recipe_data: dict[str, Any]) -> dict[str, Any]:
    """A recipe with a short training and a pruning that looks at data, and nothing else."""
    prune = {"method": "prune", "pruning_ratio": 0.5, "importance": "taylor", "samples": 32}
    train = {"epochs": 1, "lr": 0.1}
    return recipe_data | {"baseline": {"train": train}, "steps": [prune], "gates": []}


def steps_of(recipe_data: dict[str, Any], digits: Data, root: Path) -> RunContext:
    recipe = Recipe.model_validate(recipe_data)
    folder = RunFolder.create(root, "small")
    return RunContext(recipe, Path(), digits, classification, folder, Journal(Silent()))


def run(steps: RunContext) -> list[models.ModelState]:
    return models.compress(build(steps.recipe.model, Path()), steps)


def warnings_of(steps: RunContext) -> list[str]:
    assert isinstance(steps.progress, Journal)
    return steps.progress.warnings


def reused(states: list[models.ModelState]) -> list[bool]:
    return [state.record.reused_from is not None for state in states]


def test_a_reused_step_tells_that_other_threads_made_it(
    short: dict[str, Any], digits: Data, tmp_path: Path
) -> None:
    first = steps_of(short, digits, tmp_path)
    made = run(first)
    assert [state.record.computed_with["threads"] for state in made] == [1, 1]
    same = steps_of(short, digits, tmp_path)
    assert reused(run(same)) == [True, True]
    assert warnings_of(same) == []
    torch.set_num_threads(2)
    other = steps_of(short, digits, tmp_path)
    states = run(other)
    assert reused(states) == [True, True]
    note = f"computed by run {states[1].record.reused_from} with threads 1 (now 2)"
    assert note in states[1].record.notes
    assert [text.partition(":")[0] for text in warnings_of(other)] == ["baseline", "1-prune"]
    assert note in warnings_of(other)[1]


@pytest.mark.parametrize("where", ["baseline", "finetune", "distill"])
def test_a_deterministic_run_makes_its_steps_anew_with_other_threads(
    short: dict[str, Any], digits: Data, tmp_path: Path, where: str
) -> None:
    exact = {"epochs": 1, "lr": 0.1, "deterministic": True}
    if where == "baseline":
        short["baseline"] = {"train": exact}
    elif where == "finetune":
        short["steps"][0]["finetune"] = exact
    else:  # what it starts from must have the same bits too
        short["steps"].append({"method": "distill", "teacher": "baseline"} | exact)
    steps = steps_of(short, digits, tmp_path)
    model = build(steps.recipe.model, Path())
    one = models.baseline_key(model, steps)
    assert models.baseline_key(model, steps) == one
    torch.set_num_threads(2)
    assert models.baseline_key(model, steps) != one


def test_a_run_that_is_not_deterministic_has_one_key_for_all_threads(
    short: dict[str, Any], digits: Data, tmp_path: Path
) -> None:
    steps = steps_of(short, digits, tmp_path)
    model = build(steps.recipe.model, Path())
    one = models.baseline_key(model, steps)
    torch.set_num_threads(2)
    assert models.baseline_key(model, steps) == one


def test_a_damaged_step_is_done_again_and_gives_the_same_model(
    short: dict[str, Any], digits: Data, tmp_path: Path
) -> None:
    made = run(steps_of(short, digits, tmp_path))
    weights = made[1].bundle / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 0x40  # the exponent of a weight
    weights.write_bytes(content)
    again = steps_of(short, digits, tmp_path)
    states = run(again)
    assert reused(states) == [True, False]
    (warning,) = warnings_of(again)
    assert f"{weights.parent}: weights.safetensors is damaged or was changed" in warning
    before, after = (s[1].model.module.state_dict() for s in (made, states))
    assert all(torch.equal(before[name], after[name]) for name in before)
