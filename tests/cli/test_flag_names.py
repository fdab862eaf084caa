"""What is wrong with flags is told with the flags, what is wrong with a recipe with its keys."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer.main

from squeeze.cli import flag_names
from squeeze.cli.app import app
from squeeze.core.errors import InputError, Problem, RecipeError

if TYPE_CHECKING:
    import subprocess

Squeeze = Callable[..., "subprocess.CompletedProcess[str]"]
DIGITS = ("--validation", "builtin:digits", "--input", "1,12,12", "--arg", "in_channels=1")
RANDOM = (*DIGITS, "--weights", "random")


@pytest.mark.parametrize("verb", ["prune", "quantize", "distill"])
def test_every_flag_that_messages_name_exists(verb: str) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    options = {name for parameter in commands[verb].params for name in parameter.opts}
    named = {*flag_names.SHARED.values(), *flag_names.OF_STEPS[verb].values()} - {"MODEL"}
    assert named <= options


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("prune", "builtin:resnet8", *RANDOM, "--pruning-ratio", 1.2, "--importance", "l3"),
            [
                "--pruning-ratio: found 1.2, allowed: less than 1",
                "--importance: unknown importance 'l3', allowed: activation",
            ],
        ),
        (
            ("prune", "mobilenet_v2", *RANDOM, "--epochs", 2, "--lr", -1, "--target", "onnx"),
            [
                "--lr: found -1.0, allowed: greater than 0",
                "MODEL: found 'mobilenet_v2', allowed: torchvision:NAME",
                "squeeze prune: trains, which needs --train",
                "--target: unknown runtime 'onnx', allowed: litert",
            ],
        ),
        (
            ("quantize", "builtin:resnet8", *DIGITS, "--weights", "w.pth", "--calibrator", "max"),
            [
                "--weights: no such file or folder: w.pth",
                "--calibrator: unknown calibrator 'max', allowed: entropy",
            ],
        ),
        (
            ("distill", "builtin:resnet8", *RANDOM, "--teacher", "resnet20", "--temperature", 0),
            [
                "--temperature: found 0.0, allowed: greater than 0",
                "--teacher: found 'resnet20', allowed: torchvision:NAME",
                "squeeze distill: trains, which needs --train",
            ],
        ),
        (
            ("prune", "builtin:resnet8", *RANDOM, "--keep", "conv9", "--arg", "num_classes=[1"),
            ["--arg num_classes=[1:1:3: is not YAML"],
        ),
        (
            ("prune", "builtin:resnet8", *RANDOM, "--keep", "conv9"),
            ["--keep: 'conv9' matches no layer; did you mean 'conv1'?"],
        ),
        (
            ("prune", "builtin:resnet8", *RANDOM, "--set", "steps.0.rounds=0"),
            ["--set steps.0.rounds=0: steps.0.rounds: found 0, allowed: greater than"],
        ),
        (
            ("prune", "builtin:resnet8", *DIGITS),
            [
                "MODEL: has no weights: builtin:resnet8 would be measured with random ones; give "
                "--weights, train it first (squeeze train), or write --weights random",
            ],
        ),
        (
            ("quantize", "builtin:resnet8", *RANDOM, "--mean", "0.5,0.5", "--std", "1,1,1"),
            ["--mean: has 2 numbers for 1 channels"],
        ),
        (
            ("quantize", "builtin:resnet8", *RANDOM, "--on-corrupt", "drop"),
            ["--on-corrupt: found 'drop', allowed: refuse, skip"],
        ),
        (
            ("quantize", "builtin:resnet8", *RANDOM, "--task", "detection"),
            [
                "--validation: 'digits' has no boxes; --task detection takes coco",
                "--fit: crop may cut objects off; set --fit letterbox (keeps proportions) or ",
            ],
        ),
        (
            ("quantize", "builtin:resnet8", *RANDOM[2:], "--validation", "voc:nowhere"),
            [
                "--validation: no such folder",
                "--validation: 'voc' has boxes; set --task detection",
            ],
        ),
        (("inspect", "pruning", "resnet20"), ["MODEL: found 'resnet20', allowed: "]),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_mistakes_in_flags_name_flags(
    squeeze: Squeeze, arguments: tuple[object, ...], expected: list[str]
) -> None:
    done = squeeze(*arguments)
    assert done.returncode == 2
    said = done.stderr.partition("error: ")[2].splitlines()
    assert len([line for line in said if not line.startswith("  ")]) == len(expected), said
    for line, start in zip(said, expected, strict=False):
        assert line.startswith(start), said


def test_a_recipe_names_its_keys(
    squeeze: Squeeze, tmp_path: Path, recipe_data: dict[str, object]
) -> None:
    del recipe_data["baseline"]
    recipe_data["model"] = dict(recipe_data["model"], weights="random")  # type: ignore[call-overload]
    recipe_data["steps"] = [{"method": "prune", "pruning_ratio": 0.5, "keep": ["conv9"]}]
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe_data))
    done = squeeze("run", "recipe.yaml")
    assert done.returncode == 2
    assert "error: steps.0.keep: 'conv9' matches no layer" in done.stderr


def test_sentences_name_flags_too() -> None:
    recipe = {"model": {"weights": "bundle"}, "data": {}, "gates": [{"max_drop": 0.1}, {}]}
    flags = flag_names.names(recipe, {"method": "prune"})
    with (
        pytest.raises(InputError) as caught,
        flag_names.naming_flags(flags),
    ):
        raise InputError(
            "has 5 classes, and data.train 10: set model.args.num_classes: 10",
            where="model.weights",
            hint="or change steps.0.finetune.lr, steps.0.size or data.other",
        )
    assert str(caught.value) == (
        "MODEL: has 5 classes, and --train 10: set --arg num_classes=10\n"
        "  or change --lr, --size or data.other"
    )
    for file in ("model.onnx", "data.train/a.png", "model.weights/x"):
        assert flag_names.in_flags(f"{file} is no model", flags) == f"{file} is no model"
        with (
            pytest.raises(InputError, match=f"^{file}: is"),
            flag_names.naming_flags(flags),
        ):
            raise InputError("is damaged", where=file)
    with (
        pytest.raises(RecipeError) as wrong,
        flag_names.naming_flags(flags),
    ):
        raise RecipeError(
            [Problem("flags", "gates.0.max_drop: is wrong"), Problem("flags", "gates.1: too")]
        )
    assert str(wrong.value) == "--max-drop: is wrong\n--min-speedup: too"


@pytest.mark.parametrize(
    ("place", "what", "hint", "expected"),
    [
        (
            "data.validation",
            "3 of 9 images cannot be read: a.png",
            "fix or remove them, or set on_corrupt: skip to leave them out",
            "--validation: 3 of 9 images cannot be read: a.png\n"
            "  fix or remove them, or set --on-corrupt skip to leave them out",
        ),
        (
            "data.train",
            "2 of 9 boxes are bad",
            "fix them, or set on_bad_boxes: repair",
            "--train: 2 of 9 boxes are bad\n  fix them, or set --on-bad-boxes repair",
        ),
        (
            "model.input",
            "fit: crop may cut objects off",
            "set model.input.fit: letterbox",
            "--fit: crop may cut objects off\n  set --fit letterbox",
        ),
        ("targets.0.nms", "is for task: detection", None, "--target: is for --task detection"),
        (
            "data.validation.format",
            "'voc' has boxes; set task: detection",
            "add it to 'classes', or name all in order: classes: [a, b]",
            "--validation: 'voc' has boxes; set --task detection\n"
            "  add it to --classes, or name all in order: classes: [a, b]",
        ),
    ],
)
def test_hints_name_flags(place: str, what: str, hint: str | None, expected: str) -> None:
    recipe = {"model": {"build": "x"}, "data": {}, "gates": []}
    flags = flag_names.names(recipe, {"method": "quantize"})
    with pytest.raises(InputError) as caught, flag_names.naming_flags(flags):
        raise InputError(what, where=place, hint=hint)
    assert str(caught.value) == expected
    if hint and "class" not in hint:
        with pytest.raises(RecipeError) as wrong, flag_names.naming_flags(flags):
            raise RecipeError([Problem("flags", f"{place}: {what}; {hint}")])
        assert str(wrong.value) == expected.replace("\n  ", "; ")


def test_exported_files_are_not_exported_again(squeeze: Squeeze, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"x")
    (tmp_path / "net.pth").write_bytes(b"x")
    for name, expected in (
        ("net.onnx", "is an exported file, and only a bundle's torch model is exported"),
        ("net.pth", "is a file, and a bundle is a folder"),
        ("nothing", "no such folder"),
    ):
        done = squeeze("export", name, "--to", "tflite")
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {name}: {expected}"), done.stderr
