"""What a recipe leaves out of a library model's input: found, printed, and recorded in full."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from squeeze.cli.app import main
from squeeze.cli.flag_groups import InputFlags
from squeeze.cli.model_flags import model_block
from squeeze.models import blocks
from squeeze.pipeline.run import run
from squeeze.recipe.load import from_data, load_recipe


def recipe(build: str, **model: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "small",
        "model": {"build": build, "weights": "random", **model},
        "data": {"validation": "builtin:digits"},
        "targets": [{"runtime": "onnxruntime"}],
    }


def test_check_prints_what_a_library_says_without_importing_torch(
    write_recipe: Callable[[Any], Path],
) -> None:
    path = write_recipe(recipe("timm:resnet50.a1_in1k", input={"shape": [3, 160, 160]}))
    code = (
        "import sys\nfrom squeeze.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert not {'torch', 'timm', 'torchvision', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "check", str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        f"{path}: ok\n  model.input: mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225), fit "
        "crop, crop_fraction 0.95, interpolation bicubic: taken from timm's pretrained_cfg of "
        "resnet50.a1_in1k\n"
    )


@pytest.mark.parametrize(
    ("name", "near"),
    [("resnet5O", "resnet50"), ("resnet5O.a1_in1k", "resnet50"), ("resnet50.a1_in1", "a1_in1k")],
)
def test_check_names_a_model_that_the_library_does_not_know(
    name: str,
    near: str,
    write_recipe: Callable[[Any], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_recipe(recipe(f"timm:{name}"))
    monkeypatch.setattr(sys, "argv", ["squeeze", "check", str(path)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert f"did you mean '{near}'" in capsys.readouterr().err


def test_a_recipe_whose_input_is_given_in_full_is_checked_at_once(
    write_recipe: Callable[[Any], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    numbers = {"mean": [0.5] * 3, "std": [0.5] * 3, "crop_fraction": 0.9}
    whole = {"shape": [3, 64, 64], "interpolation": "bicubic"} | numbers
    path = write_recipe(recipe("timm:resnet18", input=whole))
    monkeypatch.setattr(subprocess, "run", None)  # nothing is looked up
    monkeypatch.setattr(sys, "argv", ["squeeze", "check", str(path)])
    with pytest.raises(SystemExit) as left:
        main()
    assert (left.value.code, capsys.readouterr().out) == (0, f"{path}: ok\n")


def test_one_step_commands_leave_the_input_to_the_library() -> None:
    block = model_block("timm:resnet50", None, InputFlags().given())
    assert block == {"build": "timm:resnet50"}
    block = model_block("timm:resnet50", None, InputFlags(input="3,64,64").given())
    assert block["input"] == {"shape": [3, 64, 64]}
    block = model_block("torchvision:inception_v3", None, InputFlags(mean="0.5,0.5,0.5").given())
    assert block["input"] == {"shape": [3, 299, 299], "mean": [0.5, 0.5, 0.5]}
    block = model_block("builtin:resnet8", None, InputFlags().given())
    assert block["input"] == {"shape": [3, 224, 224]}


def test_a_run_records_its_whole_input(tmp_path: Path) -> None:
    """The digits are 8 x 8: of an input of 8 x 8 nothing is cut off."""
    plain = recipe("builtin:resnet8", args={"in_channels": 1}, input={"shape": [1, 8, 8]})
    results, folder = run(from_data(plain, tmp_path), output=tmp_path)
    kept = yaml.safe_load((folder.path / "recipe.resolved.yaml").read_text())["model"]["input"]
    beside = json.loads((folder.path / "artifacts" / "baseline.onnx.json").read_text())["input"]
    assert results.recipe["model"]["input"] == kept == beside
    assert kept["crop_fraction"] == 1.0
    again = load_recipe(folder.path / "recipe.resolved.yaml").recipe.model.input
    assert again is not None
    assert not again.left_out


def test_flags_go_before_a_bundles_own_input(files: dict[str, Path]) -> None:

    block = model_block(str(files["bundle"]), None, InputFlags(mean="0.4").given())
    plain = recipe("x") | {"model": block}
    model = blocks.build(from_data(plain, Path.cwd()).recipe.model, Path.cwd())
    assert model.input.mean == (0.4,)
    assert (model.input.shape, model.input.std) == ((1, 12, 12), (0.35,))
