"""Files and folders that users hand in: what is followed, told and refused at the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx as onnx_library
import pytest
from PIL import Image
from support.command_line import Run

NET = (
    "import torch\n"
    "def make():\n"
    "    torch.manual_seed(0)\n"
    "    return torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU(),\n"
    "        torch.nn.Conv2d(32, 32, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),\n"
    "        torch.nn.Flatten(), torch.nn.Linear(32, 3))\n"
)
MODEL = ("./net.py:make", "--input", "3,16,16", "--validation", "pictures", "--target", "pytorch")


@pytest.fixture
def squeeze(in_process: Run, tmp_path: Path) -> Run:
    """Run the command in a folder with ``net.py``."""
    (tmp_path / "net.py").write_text(NET)
    return in_process


@pytest.mark.usefixtures("picture_folder")
def test_a_saved_recipe_runs_from_its_own_folder(
    squeeze: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = squeeze("prune", *MODEL, "--pruning-ratio", 0.5, "--save-recipe", "deep/down/r.yaml")
    assert done.code == 0, done.err
    (first,) = tmp_path.glob("runs/*/*/results.json")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for recipe in ("../deep/down/r.yaml", first.parent / "recipe.resolved.yaml"):
        assert squeeze("check", recipe).code == 0
    done = squeeze("run", "../deep/down/r.yaml")
    assert done.code == 0, done.err
    (second,) = Path().glob("runs/*/*/results.json")
    states = [json.loads(file.read_text())["models"] for file in (first, second)]
    assert [state["macs"] for state in states[0]] == [state["macs"] for state in states[1]]


def painted(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        (root / name).mkdir(parents=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name / "a.png")
    return root


def test_files_know_the_classes_that_they_were_made_with(
    squeeze: Run, tmp_path: Path, picture_folder: Path
) -> None:
    done = squeeze("prune", *MODEL, "--pruning-ratio", 0.5, "--target", "onnxruntime")
    assert done.code == 0, done.err
    (bundle,) = tmp_path.glob("runs/*/*/steps/1-prune")
    (onnx,) = tmp_path.glob("runs/*/*/artifacts/1-prune.onnx")
    assert json.loads((bundle / "architecture.json").read_text())["classes"] == [
        "ant",
        "bee",
        "cat",
    ]
    fewer = tmp_path / "fewer"
    for name in ("bee", "cat"):
        shutil.copytree(picture_folder / name, fewer / name)
    allowed = ("--allow-code", "./net.py:make", "--json", "--quiet")
    for file in (bundle, onnx):
        whole, part = (
            json.loads(squeeze("eval", file, "--validation", folder, *allowed).out)["files"][0]
            for folder in (picture_folder, fewer)
        )
        assert [each["accuracy"]["samples"] for each in (whole, part)] == [12, 8]
    strange = painted(tmp_path / "strange", "bee", "dog")
    done = squeeze("eval", onnx, "--validation", strange)
    assert done.code == 2
    assert "unknown class 'dog', allowed: ant, bee, cat" in done.err
    onnx.with_name(onnx.name + ".json").unlink()
    flags = ("eval", onnx, "--input", "3,16,16", "--validation", fewer)
    assert squeeze(*flags).code == 0  # they are inside too
    plain = onnx_library.load(onnx)
    del plain.metadata_props[:]
    onnx_library.save(plain, onnx)
    done = squeeze(*flags)
    assert done.code == 2
    assert "has 2 classes" in done.err.replace("\n", " ")
    assert "name all with --classes" in done.err
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\n")
    for names in ("ant,bee,cat", "names.txt"):
        assert squeeze(*flags, "--classes", names).code == 0
    assert "names two classes the same" in squeeze(*flags, "--classes", "ant,bee,bee").err


@pytest.mark.parametrize(
    "flags",
    [
        ("eval", "m.onnx", "--input", "3,8,8", "--validation"),
        ("prune", "./net.py:make", "--validation"),
        ("prune", "builtin:resnet8", "--validation", "builtin:digits", "--weights"),
        ("eval",),
        ("inspect", "int8"),
        ("check",),
    ],
)
def test_a_path_of_5000_letters_is_no_full_disk(flags: tuple[str, ...], squeeze: Run) -> None:
    (Path() / "m.onnx").touch()
    rest = ("--validation", "builtin:digits") if flags == ("eval",) else ()
    done = squeeze(*flags, "x" * 5000, *rest)
    assert done.code == 2
    assert "free some space" not in done.err
    assert "bug in squeeze" not in done.err
    assert len(done.err) < 1500


def test_a_recipe_of_100_mb_is_not_read(squeeze: Run, tmp_path: Path) -> None:
    with (tmp_path / "r.yaml").open("wb") as file:
        file.truncate(100 * 2**20)
    done = squeeze("check", "r.yaml")
    assert done.code == 2
    assert done.err.strip().endswith("r.yaml: is larger than 256 KiB, the most that is read")


def test_names_in_a_tflite_file_that_are_no_text(
    squeeze: Run, files: dict[str, Path], tmp_path: Path
) -> None:
    whole = files["int8.tflite"].read_bytes()
    place = whole.find(b"conv")
    assert place > 0
    damaged = tmp_path / "x.tflite"
    damaged.write_bytes(whole.replace(b"conv", b"\xff\xfe\xe9v"))
    assert squeeze("inspect", "int8", damaged).code == 0
    done = squeeze("bench", damaged)
    assert done.code == 2
    assert "x.tflite: the name of a tensor is not UTF-8" in done.err
