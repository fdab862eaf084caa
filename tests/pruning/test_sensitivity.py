"""Curves are what pruning by hand gives; ratios are read off them; patterns are answered."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from squeeze.core.errors import InputError, SqueezeError
from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.models.types import Model
from squeeze.pruning import graph, groups, sensitivity
from squeeze.pruning.sensitivity import Curve
from squeeze.pruning.step import PruneContext, prune, run, scores
from squeeze.recipe.schema import PruneStep
from squeeze.tasks.classification import task as classification

Wrap = Callable[..., Model]
STEP = PruneStep(pruning_ratio=0.5, align=1)


def top1(module: Any, images: Any, labels: Any) -> float:
    with torch.no_grad():
        return float((module(torch.from_numpy(images)).argmax(1).numpy() == labels).mean())


def test_curves_are_those_of_pruning_by_hand(trained: Model, digits: Data) -> None:
    found = graph.find_groups(trained)
    scored = scores(found, STEP, PruneContext(0))
    split = digits.validation.take(range(0, 540, 5))
    curves = sensitivity.curves(found, scored, split, classification, Silent(), (0.25, 0.5))
    assert [curve.group for curve in curves] == [group.name for group in found.prunable]
    images, labels = split.batch(range(len(split)))
    full = top1(trained.module, images, labels)
    for group, curve in zip(found.prunable, curves, strict=True):
        assert curve.channels == group.channels
        assert [ratio for ratio, _ in curve.points] == [0.0, 0.25, 0.5]
        assert curve.points[0][1] == full
        score: Any = scored[group.name]
        for ratio, accuracy in curve.points[1:]:
            removed = score.argsort()[: round(ratio * group.units)].tolist()
            silent = trained.copy()
            silence_(silent.module, group, set(removed))
            assert accuracy == pytest.approx(top1(silent.module, images, labels), abs=1e-9)


def silence_(module: Any, group: groups.ChannelGroup, channels: set[int]) -> None:
    """Zero what the group's readers take from channels; in a ResNet-8 they are plain layers."""
    for dependency in group.dependencies:
        layer = module.get_submodule(dependency.path)
        if not dependency.is_out and isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.data[:, sorted(channels)] = 0


def test_the_draw_is_the_seeds() -> None:
    split: Any = range(100)
    assert sensitivity.draw(split, 10, 0) == sensitivity.draw(split, 10, 0)
    assert sensitivity.draw(split, 10, 0) != sensitivity.draw(split, 10, 1)
    assert sensitivity.draw(split, 500, 0) == list(range(100))
    assert len(set(sensitivity.draw(split, 10, 0))) == 10


@pytest.mark.parametrize(
    ("points", "max_drop", "expected"),
    [
        (((0, 0.9), (0.25, 0.89), (0.5, 0.8)), 0.02, 0.25),
        (((0, 0.9), (0.25, 0.88), (0.5, 0.8)), 0.02, 0.25),  # exactly as far as allowed
        (((0, 0.9), (0.25, 0.8), (0.5, 0.9)), 0.02, 0.0),  # not past a dip
        (((0, 0.9), (0.25, 0.95), (0.5, 0.9)), 0.02, 0.5),
        (((0, 0.9),), 0.02, 0.0),
    ],
)
def test_the_farthest_ratio_within_a_drop(
    points: tuple[tuple[float, float], ...], max_drop: float, expected: float
) -> None:
    assert Curve("a", 8, points).farthest(max_drop) == expected


def test_ratios_from_sensitivity_are_removed(trained: Model, digits: Data) -> None:
    step = PruneStep.model_validate(
        {"ratios": {"from_sensitivity": {"max_drop": 0.05, "samples": 200}}, "align": 1}
    )
    around = PruneContext(3, digits.train, classification)
    done = run(trained, step, around).model
    found = graph.find_groups(trained)
    assert digits.train is not None
    split = digits.train.take(sensitivity.draw(digits.train, 200, 3))
    scored = scores(found, step, around)
    curves = sensitivity.curves(found, scored, split, classification, Silent())
    removed = done.architecture.pruning[0].removed
    for group, curve in zip(found.prunable, curves, strict=True):
        share = len(removed.get(group.name, ())) / group.channels
        assert share == pytest.approx(min(curve.farthest(0.05), 0.9), abs=1e-3)
        assert share == 0 or dict(curve.points)[0.0] - dict(curve.points)[share] <= 0.05 + 1e-9


def test_ratios_from_sensitivity_mean_the_same_in_rounds(trained: Model, digits: Data) -> None:
    """They are measured on the model before the first round, as fractions of its channels."""
    data = {"ratios": {"from_sensitivity": {"max_drop": 0.1, "samples": 100}}, "align": 1}
    around = PruneContext(0, digits.train, classification)
    widths = []
    for rounds in (1, 3):
        step = PruneStep.model_validate(data | {"rounds": rounds})
        module = run(trained, step, around).model.module
        widths.append([m.out_channels for m in module.modules() if isinstance(m, nn.Conv2d)])
    assert widths[0] == widths[1]


def test_sensitivity_without_data_is_an_error(residual: Model) -> None:
    step = PruneStep.model_validate({"ratios": "from_sensitivity"})
    with pytest.raises(SqueezeError) as caught:
        prune(residual, step, seed=0)
    assert str(caught.value) == "ratios: measures accuracy, and the run has no data.train"


def widths_of(model: Model) -> tuple[int, int]:
    return model.module.stem.out_channels, model.module.inner.out_channels  # type: ignore[union-attr, return-value]


def test_ratios_by_pattern_are_for_the_layers_that_make_channels(residual: Model) -> None:
    """``inner`` reads what ``stem`` makes: a ratio for the one is none for the other."""
    step = PruneStep(ratios={"inner": 0.5}, align=1)
    assert widths_of(prune(residual, step, seed=0)) == (8, 3)
    step = PruneStep(ratios={"inner": 0.5}, pruning_ratio=0.25, align=1)
    assert widths_of(prune(residual, step, seed=0)) == (6, 3)
    step = PruneStep(ratios={"*": 0.5, "inner": 0.0}, align=1)
    assert widths_of(prune(residual, step, seed=0)) == (4, 6)
    step = PruneStep(ratios={"outer": 0.25}, align=1)  # tied to the stem by the sum
    assert widths_of(prune(residual, step, seed=0)) == (6, 6)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("inne", "ratios: 'inne' matches no layer; did you mean 'inner'?"),
        ("xyz*", "ratios: 'xyz*' matches no layer"),
        ("head", "ratios: 'head' matches only what is left alone: head makes the model's output"),
    ],
)
def test_a_ratio_that_changes_nothing_is_an_error(
    residual: Model, pattern: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        prune(residual, PruneStep(ratios={pattern: 0.5}, align=1), seed=0)
    assert str(caught.value).partition("\n")[0] == message


def test_a_kept_layer_is_left_alone_and_told(residual: Model) -> None:
    done = run(residual, PruneStep(pruning_ratio=0.5, align=1, keep=("head",)), PruneContext(0))
    assert widths_of(done.model) == (8, 3)
    assert torch.equal(done.model.module.head.weight, residual.module.head.weight)  # type: ignore[union-attr, arg-type]
    assert "left alone: outer (8 channels) kept by the recipe ('head')" in done.notes
    nothing = PruneStep(pruning_ratio=0.5, keep=("inner",))
    with pytest.raises(SqueezeError, match=r"nothing can be pruned: .*kept by the recipe"):
        prune(residual, nothing, seed=0)


def test_groups_without_a_score_have_no_curve(residual: Model, digits: Data) -> None:
    found = graph.find_groups(residual)
    scored = scores(found, PruneStep(pruning_ratio=0.5, importance="bn_scale"), PruneContext(0))
    assert [name for name, score in scored.items() if score is None] == ["inner"]
    done = run(
        residual, PruneStep(pruning_ratio=0.5, importance="bn_scale", align=1), PruneContext(0)
    )
    assert widths_of(done.model) == (4, 6)
    assert "left alone: inner has no score by bn_scale" in done.notes
    assert np.isfinite(digits.validation.batch([0])[0]).all()
