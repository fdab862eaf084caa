"""Distillation in a whole run: another architecture takes the model's place."""

import json
from pathlib import Path
from typing import Any

import pytest

import squeeze
from squeeze.cli import one_step
from squeeze.cli.data_flags import DataFlags
from squeeze.cli.distill import LossFlags, PairFlags
from squeeze.cli.distill import distill as distill_verb
from squeeze.cli.flag_groups import InputFlags, Switches
from squeeze.cli.model_flags import ModelFlags
from squeeze.cli.run import RunFlags
from squeeze.core.types import Silent
from squeeze.models import bundle
from squeeze.recipe.load import from_data
from squeeze.results import Results


def recipe(**step: Any) -> dict[str, Any]:
    whole = {"method": "distill", "epochs": 1, "lr": 0.05, "teacher": "baseline"}
    return {
        "version": 1,
        "name": "small",
        "model": {
            "build": "builtin:resnet20",
            "args": {"num_classes": 10, "in_channels": 1},
            "input": {"shape": [1, 12, 12], "mean": [0.3], "std": [0.35], "crop_fraction": 1.0},
        },
        "data": {"train": {"format": "digits", "samples": 256}, "validation": "builtin:digits"},
        "baseline": {"train": {"epochs": 1, "lr": 0.1}},
        "steps": [whole | step],
        "targets": [{"runtime": "pytorch"}],
    }


def run(data: dict[str, Any], folder: Path) -> tuple[Results, Path]:
    results, place = squeeze.run(
        from_data(data, folder), output=folder / "runs", progress=Silent(), command="test"
    )
    return results, place.path


@pytest.mark.slow
def test_a_student_takes_the_models_place(tmp_path: Path) -> None:
    """Its bundle is another architecture, smaller, and serves as the next run's teacher."""
    args = {"num_classes": 10, "in_channels": 1}
    student = {"build": "builtin:resnet8", "args": args}
    losses = [{"name": "kd", "temperature": 2.0}, {"name": "fitnet"}]
    results, folder = run(recipe(student=student, losses=losses), tmp_path)
    baseline, distilled = results.models
    assert distilled.params < baseline.params / 3
    assert distilled.notes == (
        "teacher: baseline",
        "student: builtin:resnet8",
        "fitnet: stages.1 (paired by spatial size)",
    )
    place = folder / "steps" / "1-distill"
    assert bundle.load(place).architecture.build == "builtin:resnet8"
    again, _ = run(recipe(teacher={"weights": str(place)}, student=student), tmp_path)
    assert again.models[1].notes[0] == f"teacher: {place}"
    other, _ = run(recipe(student=student | {"build": "builtin:resnet20"}), tmp_path)
    assert other.models[1].params == baseline.params  # not reused from the first run


def test_the_verb_writes_the_recipe_it_means(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "big").mkdir()
    seen: list[Any] = []
    monkeypatch.setattr(
        one_step, "run", lambda flags, step, overrides: seen.append((flags, step, overrides))
    )
    flags = one_step.OneStepFlags(
        model=ModelFlags(model="x", arg=["in_channels=1"], fed=InputFlags()),
        sets=one_step.SetFlags(validation="builtin:digits", read=DataFlags()),
        goals=one_step.GoalFlags(),
        running=RunFlags(),
        switches=Switches(),
    )
    models = PairFlags(
        teacher=str(tmp_path / "big"),
        student="builtin:resnet8",
        student_weights="s.safetensors",
    )
    distill_verb(flags, pair=models, losses=LossFlags(loss=["kd", "at=0.5"]))
    (_, step, overrides) = seen[0]
    assert json.loads(json.dumps(step)) == {
        "method": "distill",
        "teacher": {"weights": str(tmp_path / "big")},
        "student": {"build": "builtin:resnet8", "weights": "s.safetensors"},
        "epochs": 10,
        "lr": 0.01,
        "batch_size": 64,
        "losses": [{"name": "kd"}, {"name": "at", "weight": 0.5}],
    }
    assert overrides == ["steps.0.student.args.in_channels=1"]
