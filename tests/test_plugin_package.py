"""A package that adds a runtime, a backend, a dataset format, a criterion and a loss."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "plugin_package"
RECIPE = """
version: 1
name: stripes
model:
  build: builtin:resnet8
  args: {num_classes: 3, in_channels: 1}
  input: {shape: [1, 12, 12], mean: [0.5], std: [0.25], fit: stretch}
baseline: {train: {epochs: 4, lr: 0.05, batch_size: 32}}
data:
  train: {format: stripes, args: {images: 96}}
  validation: {format: stripes, args: {images: 60}}
  calibration: {from: train, samples: 16}
steps:
  - {method: prune, importance: largest, pruning_ratio: 0.2}
  - method: distill
    teacher: baseline
    losses: [{name: distance, options: {power: 1.5}}]
    epochs: 1
    batch_size: 32
  - {method: quantize, scheme: weight_only_int8}
targets:
  - {runtime: pt2}
gates:
  - {metric: size, target: pt2, max_bytes: 1_000_000}
"""

Squeeze = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def squeeze(tmp_path: Path) -> Squeeze:
    """Run squeeze where the package is installed: its sources and its metadata are on the path."""
    record = tmp_path / "installed" / "acme_squeeze-1.0.dist-info"
    record.mkdir(parents=True)
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    (record / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    (record / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {module}\n" for name, module in entries.items())
            for group, entries in project["entry-points"].items()
        )
    )
    path = os.pathsep.join([str(PACKAGE), str(record.parent), os.environ.get("PYTHONPATH", "")])

    def run(*arguments: str, module: str = "squeeze") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.slow
def test_a_recipe_runs_through_all_of_them_to_the_report(squeeze: Squeeze, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    done = squeeze("run", "recipe.yaml")
    assert done.returncode == 0, done.stderr
    (folder,) = (path.parent for path in (tmp_path / "runs").glob("*/*/results.json"))
    results = json.loads((folder / "results.json").read_text())
    models = {model["name"]: model for model in results["models"]}
    assert list(models) == ["baseline", "1-prune", "2-distill", "3-quantize"]
    assert models["1-prune"]["params"] < models["baseline"]["params"]
    assert any("int8" in note for note in models["3-quantize"]["notes"])
    rows = {row["model"]: row for row in results["rows"]}
    assert {row["runtime"] for row in rows.values()} == {"pt2"}
    assert rows["3-quantize"]["precision"] == "int8_weights"
    assert rows["3-quantize"]["artifact"] == "artifacts/3-quantize.pt2"
    assert rows["3-quantize"]["change"]["agreement"]["value"] > 0.9
    assert rows["2-distill"]["parity"]["max_difference"] < 1e-3
    assert rows["3-quantize"]["size_bytes"] < 0.7 * rows["2-distill"]["size_bytes"]
    assert rows["baseline"]["accuracy"]["top1"]["value"] > 0.6
    assert "3-quantize" in (folder / "report.html").read_text(encoding="utf-8")
    file = folder / "artifacts" / "3-quantize.pt2"
    told = json.loads(file.with_name(f"{file.name}.json").read_text())
    assert (told["layout"], told["batch"]) == ("NCHW", "dynamic")
    timed = squeeze("bench", str(file), str(folder / "artifacts" / "2-distill.pt2"), "--json")
    assert timed.returncode == 0, timed.stderr
    shown = json.loads(timed.stdout)["measurements"]
    assert [row["runtime"] for row in shown] == ["pt2", "pt2"]
    assert {tuple(row["input"]["shape"]) for row in shown} == {(1, 12, 12)}


WRONG = [
    ("importance: largest", "importance: largst", "unknown importance 'largst'"),
    ("{power: 1.5}", "{powr: 1.5}", "unknown option of 'distance' 'powr', allowed: power"),
    ("{power: 1.5}", "{power: -1}", "found -1, allowed: greater than 0"),
    ("{images: 60}", "{image: 60}", "unknown argument of 'stripes' 'image', allowed: images, side"),
    ("{images: 60}", "{images: none}", "found 'none', allowed: a valid integer"),
    ("args: {images: 60}", "path: .", "format 'stripes' does not use 'path'; it uses args, split"),
    ("weight_only_int8", "static_int8", "rounding cannot make static_int8, allowed: weight_only"),
    ("weight_only_int8", "fp16", "pt2 on cpu cannot hold fp16, allowed: fp32, int8"),
    ("_int8}", "_int8, recovery: {equalize: false}}", "has no effect on backend rounding"),
    ("runtime: pt2}", "runtime: pt2, device: cuda}", "pt2 runs on cpu only here, found cuda"),
    ("runtime: pt2}", "runtime: pt2, precision: bf16}", "pt2 on cpu cannot hold bf16, allowed:"),
    ("runtime: pt2}", "runtime: pt3}", "unknown runtime 'pt3', allowed: litert, onnxruntime, pt2"),
]


@pytest.fixture
def all_wrong(tmp_path: Path) -> list[str]:
    """Write a recipe for every mistake; return their names."""
    names = []
    for number, (right, wrong, _) in enumerate(WRONG):
        assert right in RECIPE
        names.append(f"{number}.yaml")
        (tmp_path / names[-1]).write_text(RECIPE.replace(right, wrong))
    return names


def test_their_wrong_keys_are_refused_with_their_place(
    squeeze: Squeeze, all_wrong: list[str], tmp_path: Path
) -> None:
    (tmp_path / "right.yaml").write_text(RECIPE)
    right = squeeze("check", "right.yaml")
    assert (right.returncode, right.stdout) == (0, "right.yaml: ok\n")
    done = squeeze("check", *all_wrong)
    assert done.returncode == 2
    found = [line.removeprefix("error: ") for line in done.stderr.splitlines()]
    for name, (_, _, says) in zip(all_wrong, WRONG, strict=True):
        assert any(line.startswith(f"{name}:") and says in line for line in found), (name, found)


def test_another_target_may_take_what_their_backend_cannot_make(
    squeeze: Squeeze, tmp_path: Path
) -> None:
    both = RECIPE.replace("- {runtime: pt2}", "- {runtime: pt2}\n  - {runtime: onnxruntime}")
    (tmp_path / "both.yaml").write_text(both.replace("weight_only_int8", "static_int8"))
    done = squeeze("check", "both.yaml")
    assert (done.returncode, done.stdout) == (0, "both.yaml: ok\n"), done.stderr


def test_checking_a_recipe_of_plug_ins_imports_nothing_heavy(
    squeeze: Squeeze, tmp_path: Path
) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "looked_at.py").write_text(
        "import sys\nfrom pathlib import Path\nfrom squeeze.recipe import load, plan\n"
        "plan.check(load.load_recipe(Path('recipe.yaml')))\n"
        "assert 'acme.pt2' in sys.modules and 'acme.rounding' in sys.modules\n"
        "heavy = {'torch', 'torchvision', 'onnxruntime', 'onnx', 'ai_edge_litert', 'scipy'}\n"
        "assert not heavy & set(sys.modules)\n"
    )
    done = squeeze(module="looked_at")
    assert done.returncode == 0, done.stderr


def test_they_are_listed_and_what_they_lack_is_told(squeeze: Squeeze) -> None:
    listed = squeeze("list").stdout.splitlines()
    kinds = {line.partition(":")[0]: line for line in listed}
    assert "pt2" in kinds["runtimes"]
    assert "rounding" in kinds["backends"]
    assert "stripes" in kinds["datasets"]
    assert "largest" in kinds["importance"]
    assert "distance" in kinds["losses"]
    shown = squeeze("list", "runtimes").stdout.splitlines()
    assert "pt2          Programs of ``torch.export``, run by torch on the CPU." in shown
