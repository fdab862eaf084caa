"""The recipes that the flags of ``squeeze prune`` build."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.command_line import Run

from squeeze.recipe.load import load_recipe

if TYPE_CHECKING:
    from squeeze.recipe.loaded import LoadedRecipe

MODEL = (
    *("builtin:resnet8", "--weights", "random"),
    *("--arg", "in_channels=1", "--input", "1,12,12"),
)


@pytest.fixture
def squeeze(in_process: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command on a wide terminal."""
    monkeypatch.setenv("COLUMNS", "240")
    return in_process


@pytest.fixture
def planned(squeeze: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Return the step that ``squeeze prune`` would run, after comparing it with what it saves."""
    ran: list[LoadedRecipe] = []
    monkeypatch.setattr("squeeze.cli.run.execute", lambda loaded, *_: ran.append(loaded))

    def plan(*flags: str) -> dict[str, Any]:
        validation = ("--validation", "builtin:digits", "--train", "builtin:digits")
        code, _, err = squeeze("prune", *MODEL, *validation, *flags, "--save-recipe", "r.yaml")
        assert code == 0, err
        saved = load_recipe("r.yaml").recipe
        assert saved == ran[-1].recipe
        (step,) = yaml.safe_load(Path("r.yaml").read_text())["steps"]
        return step  # type: ignore[no-any-return]

    return plan


AIMS = ("pruning_ratio", "ratios", "speedup", "macs", "params", "size")


@pytest.mark.parametrize(
    ("flags", "aim"),
    [
        ((), {"pruning_ratio": 0.3}),
        (("--pruning-ratio", "0.5"), {"pruning_ratio": 0.5}),
        (("--pruning-ratio", "0"), {"pruning_ratio": 0.0}),
        (
            ("--speedup", "1.7"),
            {"speedup": {"runtime": "onnxruntime", "at_least": 1.7, "threads": 1}},
        ),
        (
            ("--speedup", "2", "--target", "pytorch", "--target", "litert", "--threads", "2"),
            {"speedup": {"runtime": "pytorch", "at_least": 2.0, "threads": 2}},
        ),
        (("--macs", "2"), {"macs": {"times_fewer": 2.0}}),
        (("--params", "3.5"), {"params": {"times_fewer": 3.5}}),
        (("--size", "20000"), {"size": {"at_most": 20000}}),
    ],
)
def test_aim_flags_make_a_recipe(
    planned: Callable[..., dict[str, Any]], flags: tuple[str, ...], aim: dict[str, Any]
) -> None:
    step = planned(*flags)
    assert {key: step[key] for key in AIMS if key in step} == aim


def test_all_other_flags_make_a_recipe(planned: Callable[..., dict[str, Any]]) -> None:
    step = planned(
        *("--importance", "taylor", "--ranking", "global", "--rounds", "3", "--max-ratio", "0.7"),
        *("--keep", "conv1", "--keep", "BatchNorm2d", "--align", "4"),
        *("--epochs", "2", "--lr", "0.05", "--batch-size", "16"),
    )
    expected = {
        "method": "prune",
        "pruning_ratio": 0.3,
        "importance": "taylor",
        "ranking": "global",
        "rounds": 3,
        "max_ratio": 0.7,
        "keep": ["conv1", "BatchNorm2d"],
        "align": 4,
        "finetune": {"epochs": 2, "lr": 0.05, "batch_size": 16},
    }
    assert {key: step[key] for key in expected} == expected
    assert planned("--align", "auto")["align"] == "auto"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--macs", "2", "--pruning-ratio", "0.5"), "found macs, a ratio, needs exactly one of"),
        (("--speedup", "2", "--size", "5"), "found speedup, size, needs exactly one of"),
        (("--speedup", "0.9"), "--speedup: found 0.9, allowed: greater than 1"),
        (("--speedup", "0"), "--speedup: found 0.0, allowed: greater than 1"),
        (("--macs", "0"), "--macs: found 0.0, allowed: greater than 1"),
        (("--size", "0"), "--size: found 0, allowed: "),
        (("--align", "x"), "--align: found 'x', allowed: "),
        (("--align", "²"), "align: found '²', allowed: "),
        (("--align", "0"), "align: found 0, allowed: "),
        (("--importance", "taylor"), "'taylor' needs images: give --train"),
        (("--epochs", "1"), "trains, which needs --train"),
        (("--ranking", "all"), "ranking: found 'all', allowed: local, global, isomorphic"),
        (("--max-ratio", "1"), "--max-ratio: found 1.0, allowed: less than 1"),
        (("--task", "pose", "--max-drop", "0.1"), "--task: found 'pose', allowed: classification"),
    ],
)
def test_wrong_flags_of_prune_exit_with_2(
    squeeze: Run, tmp_path: Path, flags: tuple[str, ...], expected: str
) -> None:
    code, out, err = squeeze("prune", *MODEL, "--validation", "builtin:digits", *flags)
    assert code == 2
    assert expected in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_flags_of_detection_make_a_recipe(
    squeeze: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("squeeze.cli.run.execute", lambda *_: None)
    (tmp_path / "cells").mkdir()
    model = ("builtin:tinydet", "--weights", "random", "--arg", "num_classes=2")
    code, _, err = squeeze(
        *("prune", *model, "--input", "3,96,96", "--fit", "letterbox", "--task", "detection"),
        *("--validation", "voc:cells", "--train", "voc:cells", "--classes", "red,white"),
        *("--image-set", "val", "--image-set", "train=trainval", "--on-bad-boxes", "repair"),
        *("--on-corrupt", "skip", "--max-drop", "0.02", "--save-recipe", "r.yaml"),
    )
    assert code == 0, err
    recipe = yaml.safe_load(Path("r.yaml").read_text())
    assert recipe["task"] == "detection"
    shared = {
        "format": "voc",
        "path": "cells",
        "classes": ["red", "white"],
        "on_bad_boxes": "repair",
        "on_corrupt": "skip",
    }
    assert recipe["data"] == {
        "validation": shared | {"image_set": "val"},
        "train": shared | {"image_set": "trainval"},
    }
    (gate,) = recipe["gates"]
    assert (gate["metric"], gate["max_drop"]) == ("map", 0.02)
