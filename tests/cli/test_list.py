"""``squeeze list``: every kind of name that a recipe can use, without importing what has it."""

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from squeeze.cli.list import KINDS
from squeeze.recipe import shipped
from squeeze.recipe.schema import Augment
from squeeze.recipe.schemes import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Callable

    Squeeze = Callable[..., subprocess.CompletedProcess[str]]


def test_every_kind_is_listed_with_what_it_means(squeeze: "Squeeze") -> None:
    found = json.loads(squeeze("list", "--json").stdout)
    assert tuple(found) == KINDS
    assert list(found["steps"]) == ["prune", "distill", "quantize"]
    assert set(found["schemes"]) == set(SCHEMES)
    assert {"top1", "map", "latency", "size", "int8_coverage"} <= found["metrics"].keys()
    assert set(found["augmentations"]) == set(Augment.model_fields)
    assert set(found["recipes"]) == set(shipped.names())
    assert {"builtin:resnet8", "torchvision:mobilenet_v2"} <= found["models"].keys()
    for kind in KINDS:
        if kind != "models":
            assert all(text["title"] for text in found[kind].values()), kind
    mixup = found["augmentations"]["mixup"]
    assert mixup["source"] == "https://arxiv.org/abs/1710.09412"
    assert mixup["title"].endswith("0.2 is usual.")
    assert found["metrics"]["map"]["title"] == "limits of detection: max_drop, min"


def test_names_are_listed_in_short_and_one_kind_at_length(squeeze: "Squeeze") -> None:
    lines = squeeze("list").stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == list(KINDS)
    (models,) = [line for line in lines if line.startswith("models")]
    assert "builtin:resnet8" in models
    assert " of torchvision" in models
    assert squeeze("list", "schemes").stdout.splitlines()[0].split() == (
        "static_int8 int8 weights, 8-bit activations, needs calibration".split()  # noqa: SIM905
    )
    wrong = squeeze("list", "colours")
    assert wrong.returncode == 2
    assert "unknown kind 'colours', allowed: augmentations, backends" in wrong.stderr


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from squeeze.cli.app import app; app(['list'], standalone_mode=False); "
        "print({'torch', 'timm', 'onnxruntime'} & sys.modules.keys(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr.strip() == "set()"
