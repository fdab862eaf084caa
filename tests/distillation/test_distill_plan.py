"""A recipe's losses are checked before anything runs, and without torch."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from squeeze.core.errors import RecipeError
from squeeze.recipe import plan
from squeeze.recipe.load import load_recipe

Write = Callable[[Any], Path]


def with_losses(recipe: dict[str, Any], *losses: dict[str, Any], **changes: Any) -> dict[str, Any]:
    steps = [{"method": "distill", "teacher": "baseline", "epochs": 1, "losses": list(losses)}]
    return recipe | {"steps": [steps[0] | changes], "gates": []}


@pytest.mark.parametrize(
    ("loss", "changes", "place", "message"),
    [
        ({"name": "fitnets"}, {}, "name", "unknown loss 'fitnets', allowed: ab, at, .*'fitnet'"),
        (
            {"name": "dkd", "options": {"betta": 1}},
            {},
            "options.betta",
            "unknown option of 'dkd' 'betta', allowed: alpha, beta, temperature; .*'beta'",
        ),
        (
            {"name": "rkd", "options": {"angle": "x"}},
            {},
            "options.angle",
            "found 'x', allowed: a v",
        ),
        ({"name": "at", "temperature": 4}, {}, "temperature", "'at' has no temperature"),
        ({"name": "pkt"}, {"batch_size": 1}, "", "'pkt' compares the samples of a batch, found a "),
        (
            {"name": "kd", "layers": [{"teacher": "a", "student": "b"}]},
            {},
            "layers",
            "'kd' compares logits only, so it takes no layer pairs",
        ),
        ({"name": "at", "layers": [{"teacher": "a"}]}, {}, "", "layers.0.student' is missing"),
        ({"name": "at", "layers": []}, {}, "layers", "at least 1"),
    ],
)
def test_mistakes_are_found_at_their_place(
    loss: dict[str, Any],
    changes: dict[str, Any],
    place: str,
    message: str,
    recipe_data: dict[str, Any],
    write_recipe: Write,
) -> None:
    path = write_recipe(with_losses(recipe_data, {"name": "kd"}, loss, **changes))
    with pytest.raises(RecipeError, match=message) as caught:
        plan.check(load_recipe(path))
    assert f"steps.0.losses.1{'.' if place else ''}{place}" in str(caught.value)
    assert f"{path.name}:" in caught.value.problems[0].where


def test_a_student_block_is_checked_like_every_model(
    recipe_data: dict[str, Any], write_recipe: Write
) -> None:
    broken = with_losses(recipe_data, {"name": "kd"}, student={"build": "resnet8"})
    with pytest.raises(RecipeError, match=r"steps.0.student.build: found 'resnet8', allowed"):
        plan.check(load_recipe(write_recipe(broken)))


def test_checking_losses_does_not_import_torch(
    recipe_data: dict[str, Any], write_recipe: Write
) -> None:
    from squeeze.core import plugins

    of_detectors = {"detector_kd", "fgd"}
    losses = [{"name": name} for name in plugins.names(plugins.LOSSES) if name not in of_detectors]
    path = write_recipe(with_losses(recipe_data, *losses, student={"build": "builtin:resnet8"}))
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from squeeze.recipe import load, plan\n"
        f"plan.check(load.load_recipe(Path({str(path)!r})))\n"
        "assert not {'torch', 'torchdistill', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
