"""What is wrong with a prune step is told as a sentence, at its place, before anything runs."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from squeeze.core.errors import RecipeError
from squeeze.recipe import plan, pruning
from squeeze.recipe.load import load_recipe
from squeeze.recipe.schema import PruneStep

RECIPE = """\
version: 1
name: x
model:
  {{build: "builtin:resnet8", weights: random,
  input: {{shape: [1, 12, 12]}}}}
data:
  validation: builtin:digits
{train}steps:
  - method: prune
    {step}
targets:
  - {{runtime: onnxruntime}}
"""
IMPORTANCES = (
    "activation, bn_scale, fpgm, hessian, l1, l2, lamp, random, taylor; did you mean 'taylor'?"
)
NO_AIM = "needs exactly one of: pruning_ratio (or ratios), speedup, macs, params, size"


@pytest.fixture
def told(write_recipe: Callable[[Any], Path]) -> Callable[..., list[str]]:
    """Check a recipe with this step; return what is said."""

    def check(step: str, *, train: bool = False) -> list[str]:
        where = "  train: builtin:digits\n" if train else ""
        path = write_recipe(RECIPE.format(step=step.replace("\n", "\n    "), train=where))
        try:
            plan.check(load_recipe(path))
        except RecipeError as error:
            return [str(problem).replace(str(path), "f") for problem in error.problems]
        return []

    return check


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (
            "pruning_ratio: 0.5\nimportance: tailor",
            [f"f:11:5: steps.0.importance: unknown importance 'tailor', allowed: {IMPORTANCES}"],
        ),
        (
            "pruning_ratio: 0.5\nimportance: taylor",
            ["f:11:5: steps.0.importance: 'taylor' needs images: give data.train"],
        ),
        (
            "ratios: from_sensitivity",
            ["f:10:5: steps.0.ratios: from_sensitivity measures accuracy, which needs data.train"],
        ),
        (
            "pruning_ratio: 0.5\nfinetune: {epochs: 1, lr: 0.1}",
            ["f:9:5: steps.0: trains, which needs data.train"],
        ),
        (
            "pruning_ratio: 0.5\nsparse: {epochs: 1, lr: 0.1}",
            ["f:9:5: steps.0: trains, which needs data.train"],
        ),
        (
            "pruning_ratio: 0.5\nlosses: [{name: kd}]",
            ["f:11:5: steps.0.losses: are for fine-tuning; add finetune"],
        ),
        (
            "speedup: {runtime: onnxruntim, at_least: 1.5}",
            [
                "f:10:15: steps.0.speedup.runtime: unknown runtime 'onnxruntim', allowed: litert, "
                "onnxruntime, pytorch; did you mean 'onnxruntime'?"
            ],
        ),
        (
            "macs: {times_fewer: 2.0}\nranking: global",
            ["f:11:5: steps.0.ranking: is for ratios, and the step has another goal"],
        ),
    ],
)
def test_mistakes_without_training_images(
    told: Callable[..., list[str]], step: str, expected: list[str]
) -> None:
    assert told(step) == expected


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (
            "pruning_ratio: 0.5\nsparse: {regularizer: bn_scal, epochs: 1, lr: 0.1}",
            [
                "f:12:14: steps.0.sparse.regularizer: unknown regularizer 'bn_scal', allowed: "
                "bn_scale, group_norm, growing_reg; did you mean 'bn_scale'?"
            ],
        ),
        (
            "pruning_ratio: 0.5\nratios: from_sensitivity",
            [
                "f:11:5: steps.0.pruning_ratio: has no effect: from_sensitivity finds every "
                "layer's ratio"
            ],
        ),
        (
            "pruning_ratio: 0.5\nlosses: [{name: kdd}]\nfinetune: {epochs: 1, lr: 0.1}",
            None,
        ),
        ("pruning_ratio: 0.5\nimportance: taylor", []),
        ("ratios: from_sensitivity\nsparse: {epochs: 1, lr: 0.1}", []),
        ("ratios: {conv1: 0.5, '*': 0.2}\npruning_ratio: 0.1\nranking: global", []),
        ("speedup: {runtime: pytorch, at_least: 2.0, threads: 2, batch_size: 4}", []),
        ("size: {at_most: 10000}", []),
    ],
)
def test_mistakes_with_training_images(
    told: Callable[..., list[str]], step: str, expected: list[str] | None
) -> None:
    found = told(step, train=True)
    if expected is None:
        assert found[0].startswith("f:12:15: steps.0.losses.0.name: unknown loss 'kdd', allowed: ")
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("importance: l2", f"f:9:5: steps.0: found none, {NO_AIM}"),
        (
            "pruning_ratio: 0.5\nmacs: {times_fewer: 2.0}",
            f"f:9:5: steps.0: found macs, a ratio, {NO_AIM}",
        ),
        (
            "size: {at_most: 5}\nspeedup: {runtime: pytorch, at_least: 2.0}",
            f"f:9:5: steps.0: found speedup, size, {NO_AIM}",
        ),
        (
            "macs: {times_fewer: 2.0, at_most: 5}",
            "f:10:5: steps.0.macs: needs exactly one of: times_fewer, at_most",
        ),
        ("macs: {}", "f:10:5: steps.0.macs: needs exactly one of: times_fewer, at_most"),
        (
            "params: {times_fewer: 1.0}",
            "f:10:14: steps.0.params.times_fewer: found 1.0, allowed: greater than 1",
        ),
        (
            "speedup: {runtime: pytorch, at_least: 0.5}",
            "f:10:33: steps.0.speedup.at_least: found 0.5, allowed: greater than 1",
        ),
        ("pruning_ratio: 1.0", "f:10:5: steps.0.pruning_ratio: found 1.0, allowed: less than 1"),
        (
            "ratios: {conv1: 1.5}",
            "f:10:14: steps.0.ratios.conv1: found 1.5, allowed: less than 1",
        ),
        (
            "pruning_ratio: 0.5\nmax_ratio: 1.0",
            "f:11:5: steps.0.max_ratio: found 1.0, allowed: less than 1",
        ),
        (
            "pruning_ratio: 0.5\nranking: gobal",
            "f:11:5: steps.0.ranking: found 'gobal', allowed: local, global, isomorphic; "
            "did you mean 'global'?",
        ),
        (
            "ratios: {from_sensitivity: {max_drop: 0}}",
            "f:10:33: steps.0.ratios.from_sensitivity.max_drop: found 0, allowed: greater than 0",
        ),
    ],
)
def test_a_step_that_is_not_well_formed(
    told: Callable[..., list[str]], step: str, expected: str
) -> None:
    needs_data = "from_sensitivity measures accuracy, which needs data.train"
    assert [line for line in told(step) if needs_data not in line] == [expected]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"pruning_ratio": 0.5}, False),
        ({"pruning_ratio": 0.5, "importance": "hessian"}, True),
        ({"pruning_ratio": 0.5, "importance": "unheard_of"}, False),
        ({"ratios": "from_sensitivity"}, True),
        ({"pruning_ratio": 0.5, "sparse": {"epochs": 1, "lr": 0.1}}, True),
        ({"pruning_ratio": 0.5, "finetune": {"epochs": 1, "lr": 0.1}}, True),
    ],
)
def test_what_needs_training_images(step: dict[str, Any], expected: bool) -> None:  # noqa: FBT001
    assert pruning.needs_images(PruneStep.model_validate(step)) is expected


def test_checking_imports_nothing_heavy(write_recipe: Callable[[Any], Path]) -> None:
    step = "pruning_ratio: 0.5\n    importance: activation\n    sparse: {epochs: 1, lr: 0.1}"
    path = write_recipe(RECIPE.format(step=step, train="  train: builtin:digits\n"))
    code = (
        "import sys\nfrom pathlib import Path\nfrom squeeze.recipe import load, plan\n"
        f"plan.check(load.load_recipe(Path({str(path)!r})))\n"
        "heavy = {'numpy', 'torch', 'torch_pruning', 'torchvision', 'onnxruntime', 'onnx', "
        "'scipy', 'ai_edge_litert', 'sklearn', 'PIL'}\n"
        "assert not heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
