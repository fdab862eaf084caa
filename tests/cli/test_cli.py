"""The command line as its users meet it: exit codes, streams, messages, nothing left behind."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

Squeeze = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch",
    "torchvision",
    "onnxruntime",
    "onnx",
    "ai_edge_litert",
    "sklearn",
    "scipy",
    "matplotlib",
    "PIL",
    "numpy",
)


DIGITS = (
    "builtin:resnet8",
    "--weights",
    "random",
    "--arg",
    "in_channels=1",
    "--input",
    "1,12,12",
    "--validation",
    "builtin:digits",
)


@pytest.mark.parametrize("arguments", [["--help"], ["prune", "--help"], ["list"], ["schema"]])
def test_light_verbs_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nsys.argv = ['squeeze', *sys.argv[1:]]\n"
        "from squeeze.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"


def test_check_imports_nothing_heavy_and_finds_every_recipe_valid() -> None:
    recipes = [*ROOT.glob("recipes/*.yaml"), *ROOT.glob("examples/*/*.yaml")]
    assert len(recipes) >= 4
    there = [r for r in recipes if _has_its_data(r)]
    code = (
        "import sys\nfrom squeeze.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "check", *map(str, there)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.strip() == "[]"
    assert done.stdout.count(": ok\n") == len(there) >= 2


def _has_its_data(recipe: Path) -> bool:
    sources = yaml.safe_load(recipe.read_text())["data"].values()
    paths = [s["path"] for s in sources if isinstance(s, dict) and "path" in s]
    weights = yaml.safe_load(recipe.read_text())["model"].get("weights", "")
    return not weights and all((recipe.parent / path).exists() for path in paths)


def test_every_recipe_is_valid_apart_from_data_that_is_not_here(squeeze: Squeeze) -> None:
    for recipe in ROOT.glob("recipes/*.yaml"):
        done = squeeze("check", recipe)
        problems = [line for line in done.stderr.splitlines() if line]
        absent = ("no such folder", "is not installed")
        assert all(any(text in line for text in absent) for line in problems), problems


def test_wrong_recipes_exit_with_2_and_all_mistakes(squeeze: Squeeze, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("version: 1\nnam: x\n")
    (tmp_path / "b.yaml").write_text("a: [1\n")
    for name in ("a.yaml", "b.yaml"):
        done = squeeze("run", name)
        assert done.returncode == 2
    done = squeeze("check", "a.yaml", "b.yaml", "c.yaml")
    assert done.returncode == 2
    assert "a.yaml:2:1: unknown key 'nam'" in done.stderr
    assert "b.yaml:2:1: is not YAML" in done.stderr
    assert "c.yaml: no such file" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.yaml", "b.yaml"]


@pytest.fixture
def wrong(tmp_path: Path, picture_folder: Path) -> dict[str, tuple[list[str], str]]:
    """Arguments of ``squeeze prune`` that are wrong, and what is said."""
    import torch
    from torch import nn

    (tmp_path / "net.py").write_text(
        "import torch\ndef number(): return 5\n"
        "def nan():\n"
        "    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
        "    net[1].weight.data[0] = float('nan')\n    return net\n"
    )
    torch.save(nn.Linear(1, 1), tmp_path / "pickle.pth")
    (tmp_path / "empty").mkdir()
    one = tmp_path / "one" / "ant"
    one.mkdir(parents=True)
    (picture_folder / "ant" / "0.png").rename(one / "0.png")
    (picture_folder / "bee" / "0.png").write_bytes(b"no picture")
    (tmp_path / "file").write_text("")
    small = ["--input", "1,8,8", "--validation", "builtin:digits"]
    random = ("builtin:resnet8", "--weights", "random")
    return {
        "ratio": ([*DIGITS, "--pruning-ratio", "1.2"], "--pruning-ratio: found 1.2"),
        "model": (
            ["torchvision:mobilnet_v2", "--weights", "random", *small],
            "did you mean 'mobilenet_v2'?",
        ),
        "number": (["./net.py:number", *small], "expected a torch.nn.Module"),
        "nan": (["./net.py:nan", *small], "hold NaN or infinity: 1.weight"),
        "pickle": (["builtin:resnet8", "--weights", "pickle.pth", *small], "convert it once"),
        "classes": (
            [*random, "--arg", "num_classes=7", "--arg", "in_channels=1", *small],
            "set --arg num_classes=10",
        ),
        "empty": ([*random, "--validation", "empty"], "has no sub-folders"),
        "one": ([*random, "--validation", "one"], "has one class only ('ant')"),
        "corrupt": (
            [*random, "--validation", "pictures"],
            "1 of 11 images cannot be read",
        ),
        "output": ([*DIGITS, "--output", "file/x"], "cannot be written: Not a directory"),
        "shape": (
            [*DIGITS[:5], "--input", "1,x,8", "--validation", "builtin:digits"],
            "--input: found '1,x,8'",
        ),
        "arg": ([*random, "--arg", "x", *small], "expected KEY=VALUE"),
    }


def test_wrong_input_exits_with_2_says_why_and_leaves_nothing(
    squeeze: Squeeze, wrong: dict[str, tuple[list[str], str]], tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    for name, (arguments, text) in wrong.items():
        done = squeeze("prune", *arguments)
        assert done.returncode == 2, (name, done.stderr)
        assert text in done.stderr, name
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    after = [p for p in sorted(tmp_path.rglob("*")) if "__pycache__" not in str(p)]
    assert after == before


def test_debug_shows_the_traceback(squeeze: Squeeze) -> None:
    done = squeeze("prune", "builtin:nothing", *DIGITS[1:], "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_a_full_disk_is_told_and_nothing_is_half_written(squeeze: Squeeze, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        done = squeeze("prune", *DIGITS, "--output", "disk")
        left = list(disk.rglob("*"))
    finally:
        subprocess.run(["/bin/umount", str(disk)], check=True)
    assert done.returncode == 2
    assert "cannot be written: No space left on device" in done.stderr
    assert left == []


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> "tuple[Path, dict[str, Any]]":
    """A finished ``squeeze prune --json`` with a gate that fails, its folder and its JSON."""
    folder = tmp_path_factory.mktemp("cli")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "squeeze",
            "prune",
            *DIGITS,
            "--pruning-ratio",
            "0.5",
            "--min-speedup",
            "1000",
            "--save-recipe",
            "deep/recipe.yaml",
            "--json",
        ],
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    return folder, json.loads(done.stdout)


def test_flags_make_a_recipe_and_a_failed_gate_exits_with_3(
    pruned: tuple[Path, dict[str, Any]],
) -> None:
    _, record = pruned
    (step,) = record["recipe"]["steps"]
    assert (step["method"], step["pruning_ratio"], step["align"]) == ("prune", 0.5, "auto")
    assert [gate["verdict"] for gate in record["gates"]] == ["fail"]
    assert [row["model"] for row in record["rows"]] == ["baseline", "1-prune"]


def test_the_saved_recipe_is_the_same_recipe(
    pruned: tuple[Path, dict[str, Any]], squeeze: Squeeze
) -> None:
    from squeeze.recipe.load import load_recipe

    folder, record = pruned
    saved = folder / "deep" / "recipe.yaml"
    assert squeeze("check", saved).returncode == 0
    recipe = load_recipe(saved).recipe
    assert recipe.model_dump(mode="json", by_alias=True) == record["recipe"]


def test_report_eval_bench_and_export_work_on_what_a_run_left(
    pruned: tuple[Path, dict[str, Any]], squeeze: Squeeze, tmp_path: Path
) -> None:
    folder, record = pruned
    (run,) = (folder / "runs" / "resnet8_prune").iterdir()
    page = (run / "report.html").read_text()
    (run / "report.html").unlink()
    assert squeeze("report", run).returncode == 0
    assert (run / "report.html").read_text() == page

    bundle, onnx = run / "steps" / "1-prune", run / "artifacts" / "1-prune.onnx"
    scores = []
    for file in (bundle, onnx):
        done = squeeze("eval", file, "--validation", "builtin:digits", "--json")
        scores.append(json.loads(done.stdout)["files"][0]["accuracy"]["top1"]["value"])
    expected = record["rows"][1]["accuracy"]["top1"]["value"]
    assert scores == [pytest.approx(expected, abs=2 / 540)] * 2

    done = squeeze("export", bundle, "--to", "onnx", "--to", "tflite", "-o", "out", "--quiet")
    assert done.returncode == 0, done.stderr
    files = [tmp_path / "out" / f"1-prune.{kind}" for kind in ("onnx", "tflite")]
    assert all(file.is_file() for file in files)
    again = squeeze("export", bundle, "--to", "onnx", "-o", "out")
    assert again.returncode == 2
    assert "exists already" in again.stderr

    done = squeeze("bench", run / "artifacts" / "baseline.onnx", *files, "--json")
    found = json.loads(done.stdout)
    assert found["baseline"] == str(run / "artifacts" / "baseline.onnx")
    timings = found["measurements"]
    assert [t["runtime"] for t in timings] == ["onnxruntime", "onnxruntime", "litert"]
    assert timings[0]["speedup"]["value"] == 1.0
    assert all(t["latency"]["median_s"] > 0 for t in timings)


def test_files_that_cannot_be_opened_are_told(squeeze: Squeeze, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"x")
    done = squeeze("eval", "x.onnx", "--validation", "builtin:digits")
    assert done.returncode == 2
    assert "x.onnx: ONNX Runtime cannot load it" in done.stderr
    done = squeeze("bench", "x.txt")
    assert "is neither a bundle folder nor an .onnx or .tflite file" in done.stderr


def test_train_leaves_a_bundle(
    squeeze: Squeeze, tmp_path: Path, recipe_data: dict[str, Any]
) -> None:
    recipe_data["baseline"]["train"]["epochs"] = 1
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe_data))
    done = squeeze("train", "r.yaml", "--bundle", "trained")
    assert done.returncode == 0, done.stderr
    import torch

    from squeeze.models.bundle import load_bundle

    module = load_bundle(tmp_path / "trained")
    assert module(torch.zeros(1, 1, 12, 12)).shape == (1, 10)
    assert squeeze("train", "r.yaml", "--bundle", "trained").returncode == 2


def test_init_list_schema_doctor(squeeze: Squeeze, tmp_path: Path) -> None:
    assert squeeze("init").returncode == 0
    assert squeeze("init").returncode == 2
    for name in ("train", "val"):
        (tmp_path / "data" / name).mkdir(parents=True)
    (tmp_path / "weights.safetensors").write_bytes(b"")
    assert squeeze("check", "recipe.yaml").stdout == "recipe.yaml: ok\n"
    listed = squeeze("list", "importance").stdout.splitlines()
    assert {"l2", "random"} <= {line.split()[0] for line in listed}
    assert squeeze("list", "colours").returncode == 2
    assert json.loads(squeeze("schema").stdout)["title"] == "Recipe"
    assert json.loads(squeeze("schema", "--results").stdout)["title"] == "Results"
    done = squeeze("doctor", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["runtimes"] == {
        "litert": True,
        "onnxruntime": True,
        "pytorch": True,
    }
    assert json.loads(done.stdout)["backends"] == {
        "litert": True,
        "neural_compressor": True,
        "onnxruntime": True,
        "pytorch": True,
    }
    lines = [line.split() for line in squeeze("doctor").stdout.splitlines()]
    wanted = ["neural-compressor", version("neural-compressor"), "backend", "neural_compressor"]
    assert wanted in lines


def test_unknown_verbs_and_flags_exit_with_2(squeeze: Squeeze) -> None:
    for arguments in (["foo"], ["prune"], ["run", "x.yaml", "--nonsense"]):
        assert squeeze(*arguments).returncode == 2


@pytest.mark.slow
def test_quantize_and_distill_by_flags(squeeze: Squeeze, tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text(
        "from sklearn.datasets import load_digits\n"
        "def digits(split):\n"
        "    d = load_digits()\n"
        "    part = slice(0, 600) if split == 'train' else slice(600, 900)\n"
        "    images = (d.images[part] * 15).astype('uint8')\n"
        "    return list(zip(images, d.target[part]))\n"
    )
    random = ("--weights", "random", "--teacher-weights", "random")
    model = ("builtin:resnet8", *random, "--arg", "in_channels=1", "--input", "1,8,8")
    done = squeeze(
        "distill",
        *model,
        "--train",
        "./data.py:digits",
        "--validation",
        "./data.py:digits",
        "--teacher",
        "builtin:resnet20",
        "--epochs",
        "1",
    )
    assert done.returncode == 0, done.stderr
    (bundle,) = tmp_path.glob("runs/resnet8_distill/*/steps/1-distill")
    done = squeeze(
        "quantize",
        bundle,
        "--validation",
        "./data.py:digits",
        "--calibration-samples",
        "30",
        "--target",
        "onnxruntime",
        "--target",
        "litert",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert [(part["role"], part["samples"]) for part in record["data"]] == [
        ("calibration", 30),
        ("validation", 270),
    ]
    for row in record["rows"]:
        if row["model"] == "1-quantize":
            assert row["coverage"]["int8"] == row["coverage"]["total"] == 10
    assert sum(row["model"] == "1-quantize" for row in record["rows"]) == 2
