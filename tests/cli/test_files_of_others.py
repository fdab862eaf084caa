"""``eval``, ``bench`` and the flags: what does not fit is told, not measured."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.command_line import Run

from squeeze.cli import one_step
from squeeze.cli.measured_files import opened as open_file
from squeeze.core.errors import InputError
from squeeze.exporting import file
from squeeze.models.types import Model
from squeeze.recipe.load import load_recipe


@pytest.fixture
def squeeze(in_process: Run) -> Run:
    """Run the command in this process."""
    return in_process


def test_other_classes_than_the_data_has_are_refused(
    squeeze: Run, files: dict[str, Path], picture_folder: Path
) -> None:
    done = squeeze("eval", files["bundle"], "--validation", picture_folder)
    assert (done.code, done.out) == (2, "")
    assert "gives outputs (10,) and the data has 3 classes" in done.err


@pytest.mark.parametrize("kind", ["onnx", "tflite", "bundle"])
def test_an_input_that_does_not_fit_is_told(
    kind: str, squeeze: Run, files: dict[str, Path]
) -> None:
    shape = "3,12,12" if kind != "tflite" else "1,10,10"
    done = squeeze("bench", files[kind], "--input", shape)
    assert (done.code, done.out) == (2, "")
    assert "does not run on an image of" in done.err
    assert "give its input as --input C,H,W" in done.err


def test_a_damaged_description_is_told(files: dict[str, Path], tmp_path: Path) -> None:
    path = Path(shutil.copy(files["onnx"], tmp_path))
    described = tmp_path / f"{path.name}.json"
    for text in ("{", "[]", '{"input": 3}'):
        described.write_text(text)
        with pytest.raises(InputError, match="is damaged"):
            open_file(path)
    described.write_text(json.dumps({"input": {"shape": [1, 12, 12]}}))
    assert open_file(path).spec.shape == (1, 12, 12)
    assert open_file(path, {"shape": [3, 8, 8], "mean": [0.5] * 3}).spec.mean == (0.5, 0.5, 0.5)
    described.write_text(json.dumps({"input": {"shape": [2, 12, 12]}}))
    with pytest.raises(InputError, match="input: found 2 channels"):
        open_file(path)


def test_eval_prints_what_it_measured(squeeze: Run, files: dict[str, Path], trained: Model) -> None:
    flags = ["--input", "1,12,12", "--mean", "0.3", "--std", "0.35"]
    done = squeeze("eval", files["int8.tflite"], "--validation", "builtin:digits", *flags)
    assert done.code == 0, done.err
    assert done.out.startswith("top-1 9")
    assert done.out.rstrip().endswith("540 samples, litert")
    assert trained.input.shape == (1, 12, 12)


def test_saved_recipes_start_their_paths_at_their_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").touch()
    (tmp_path / "pictures").mkdir()
    block: dict[str, Any] = {
        "version": 1,
        "name": "x",
        "model": {"build": "./net.py:make", "input": {"shape": [1, 8, 8]}},
        "data": {
            "train": "torchvision:MNIST:cache",
            "validation": "pictures",
            "calibration": "idx:folder",
        },
        "steps": [{"method": "distill", "epochs": 1, "teacher": {"build": "./net.py:big"}}],
        "targets": [{"runtime": "onnxruntime"}],
    }
    one_step.save(block, tmp_path / "deep" / "down" / "recipe.yaml")
    found = load_recipe(tmp_path / "deep" / "down" / "recipe.yaml").recipe
    assert found.model.build == "../../net.py:make"
    assert found.data.train is not None
    assert found.data.train.path == "../../cache"
    assert found.data.validation.path == "../../pictures"
    assert getattr(found.data.calibration, "path", None) == "../../folder"
    assert getattr(found.steps[0], "teacher").build == "../../net.py:big"  # noqa: B009
    assert block["model"]["build"] == "./net.py:make"


def test_a_wrong_recipe_is_not_saved_and_arguments_read_like_recipes(
    squeeze: Run, tmp_path: Path
) -> None:
    common = ["--weights", "random", "--validation", "builtin:digits"]
    common += ["--save-recipe", "recipe.yaml"]
    done = squeeze("prune", "builtin:resnet8", "--importance", "l3", *common)
    assert done.code == 2
    assert "did you mean 'l2'?" in done.err
    assert list(tmp_path.iterdir()) == []
    for text in ("x=[1", "x"):
        done = squeeze("prune", "builtin:resnet8", "--arg", text, *common)
        assert done.code == 2
        assert "Traceback" not in done.err
        assert "bug in squeeze" not in done.err
    done = squeeze("prune", "builtin:resnet8", "--arg", "num_classes=1e1", *common)
    assert done.code == 2  # 1e1 is a number, but no count: torch says so
    assert load_recipe(tmp_path / "recipe.yaml").recipe.model.args == {"num_classes": 10.0}


def test_train_tells_a_place_that_it_cannot_write_before_it_trains(
    squeeze: Run, tmp_path: Path, recipe_data: dict[str, Any]
) -> None:
    import yaml

    recipe_data["baseline"]["train"]["epochs"] = 100_000
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe_data))
    (tmp_path / "file").touch()
    done = squeeze("train", "r.yaml", "--bundle", "file/deep/bundle")
    assert done.code == 2
    assert "cannot be written" in done.err


@pytest.mark.parametrize(
    "data", ["builtin:image_folder", "builtin:nothing", "nothing:at.all", "idx:nowhere", "nowhere"]
)
def test_wrong_data_is_told(data: str, squeeze: Run, files: dict[str, Path]) -> None:
    done = squeeze("eval", files["bundle"], "--validation", data)
    assert (done.code, done.out) == (2, "")
    assert "bug in squeeze" not in done.err


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ("builtin:digit", "unknown format 'digit', allowed: coco, "),
        ("yolo:boxes", "--fit: crop may cut objects off\n  set --fit letterbox"),
        ("strange", "--validation: has one class only ('strange')"),
    ],
)
def test_wrong_data_is_told_in_flags(
    data: str,
    what: str,
    squeeze: Run,
    files: dict[str, Path],
    trained: Model,
    tmp_path: Path,
) -> None:
    for folder in ("strange/strange", "boxes/images"):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("L", (12, 12)).save(tmp_path / folder / "a.png")
    path = Path(shutil.copy(files["onnx"], tmp_path))
    file.describe(path, trained, 1)
    done = squeeze("eval", path, "--validation", data)
    assert (done.code, done.out) == (2, "")
    assert what in done.err
    assert "model.input" not in done.err
    assert "data.validation" not in done.err
