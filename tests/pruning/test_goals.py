"""Costs that are reached for real, and a speed-up that is predicted and then measured."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from squeeze.measure import cost
from squeeze.models.types import Architecture, Model
from squeeze.pruning.step import PruneContext, PruneOutcome, run
from squeeze.recipe.schema import InputSpec, PruneStep
from squeeze.runtimes.onnxruntime import export as onnx


def done(model: Model, **step: object) -> PruneOutcome:
    return run(model, PruneStep.model_validate({"align": 1} | step), PruneContext(0))


@pytest.mark.parametrize("rounds", [1, 2])
@pytest.mark.parametrize("times", [1.5, 3.0])
def test_macs_fall_as_far_as_asked(trained: Model, times: float, rounds: int) -> None:
    outcome = done(trained, macs={"times_fewer": times}, rounds=rounds)
    before, after = cost.macs(trained), cost.macs(outcome.model)
    assert after <= before / times
    assert after >= before / times * 0.93
    (told,) = [note for note in outcome.notes if f"(goal {before / times:,.0f})" in note]
    assert f"{after:,} MACs, {before / after:.2f}x fewer than at first" in told
    assert len(outcome.model.architecture.pruning) == rounds


def test_params_fall_as_far_as_asked(trained: Model) -> None:
    goal = cost.params(trained) // 4
    outcome = done(trained, params={"at_most": goal})
    assert goal * 0.93 <= cost.params(outcome.model) <= goal


@pytest.mark.slow
def test_the_exported_file_is_as_small_as_asked(trained: Model, tmp_path: Path) -> None:
    onnx.export(trained, tmp_path / "full.onnx")
    goal = (tmp_path / "full.onnx").stat().st_size // 2
    outcome = done(trained, size={"at_most": goal})
    onnx.export(outcome.model, tmp_path / "pruned.onnx")
    assert goal * 0.9 <= (tmp_path / "pruned.onnx").stat().st_size <= goal


def test_every_criterion_reaches_the_goal(trained: Model) -> None:
    for importance in ("l2", "random", "lamp"):
        outcome = done(trained, macs={"times_fewer": 2.0}, importance=importance)
        assert cost.macs(outcome.model) <= cost.macs(trained) / 2


def test_alignment_and_max_ratio_hold_for_costs_too(trained: Model) -> None:
    outcome = done(trained, macs={"times_fewer": 2.0}, align=4, max_ratio=0.5)
    convs = [m for m in outcome.model.module.modules() if isinstance(m, nn.Conv2d)]
    before = [m for m in trained.module.modules() if isinstance(m, nn.Conv2d)]
    for pruned, full in zip(convs, before, strict=True):
        assert pruned.out_channels % 4 == 0
        assert pruned.out_channels >= full.out_channels / 2


def test_a_goal_out_of_reach_tells_the_best(trained: Model) -> None:
    """The narrowest model is kept, and the step says that it missed its aim."""
    outcome = done(trained, macs={"times_fewer": 100.0}, max_ratio=0.5)
    best = cost.macs(done(trained, pruning_ratio=0.5).model)
    assert cost.macs(outcome.model) == best
    assert outcome.missed_goal is not None
    assert outcome.missed_goal.aim == "MACs"
    assert outcome.missed_goal.limit == f"at most {cost.macs(trained) / 100:,.0f}"
    assert outcome.missed_goal.found == f"{best:,} at best"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Let the latency tables of this file lie in a folder of their own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def wide() -> Model:
    """Two wide convolutions: narrower is faster on any machine."""
    torch.manual_seed(0)
    layers = (
        nn.Conv2d(3, 96, 3, 1, 1),
        nn.ReLU(),
        nn.Conv2d(96, 96, 3, 1, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(96, 4),
    )
    spec = InputSpec(shape=(3, 24, 24))
    return Model(nn.Sequential(*layers).eval(), Architecture("test:wide", Path(), {}, spec))


def speedup(at_least: float) -> dict[str, object]:
    return {"speedup": {"runtime": "onnxruntime", "at_least": at_least}, "align": 8}


@pytest.mark.slow
def test_a_speedup_is_predicted_and_measured(wide: Model, cache: Path) -> None:
    outcome = done(wide, **speedup(1.3))
    first, second = outcome.model.module[0], outcome.model.module[2]  # type: ignore[index]
    assert first.out_channels % 8 == second.out_channels % 8 == 0  # type: ignore[union-attr, operator]
    assert first.out_channels + second.out_channels < 192  # type: ignore[union-attr, operator]
    assert outcome.model.module(torch.zeros(2, 3, 24, 24)).shape == (2, 4)
    (told,) = [note for note in outcome.notes if note.startswith("speed-up on onnxruntime")]
    assert "1 thread(s), batch 1: predicted " in told
    assert "x, measured " in told
    assert "goal 1.30x" in told
    (table,) = [note for note in outcome.notes if note.startswith("latency table of ")]
    assert "channels aligned to 8" in table
    assert len(list((cache / "squeeze" / "latency").glob("*.json"))) == 1


@pytest.mark.slow
def test_a_speedup_out_of_reach_tells_the_best(wide: Model, cache: Path) -> None:
    missed_goal = done(wide, **speedup(1000.0)).missed_goal
    assert missed_goal is not None
    assert missed_goal.aim == "speed-up on onnxruntime, 1 thread(s), batch 1"
    assert missed_goal.limit == "at least 1000.00x"
    assert missed_goal.found.endswith("at best")
    assert len(list((cache / "squeeze" / "latency").glob("*.json"))) == 1
