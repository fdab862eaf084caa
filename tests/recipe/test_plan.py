"""Cross-checks: what is well-formed and still cannot work."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from squeeze.core import cpu
from squeeze.core.errors import RecipeError
from squeeze.recipe import plan
from squeeze.recipe.load import from_data
from squeeze.runtimes import onnxruntime


def found(data: dict[str, Any], folder: Path | None = None) -> list[str]:
    try:
        plan.check(from_data(data, folder or Path()))
    except RecipeError as error:
        return [str(problem).removeprefix("flags: ") for problem in error.problems]
    return []


def test_a_good_recipe_passes(recipe_data: dict[str, Any]) -> None:
    assert found(recipe_data) == []


def test_static_quantization_needs_calibration(recipe_data: dict[str, Any]) -> None:
    del recipe_data["data"]["calibration"]
    assert found(recipe_data) == [
        "steps.2: static_int8 needs calibration data; add for example "
        "data.calibration: {from: train, samples: 128}"
    ]


def test_distillation_needs_a_teacher_and_training_needs_data(recipe_data: dict[str, Any]) -> None:
    del recipe_data["steps"][1]["teacher"]
    del recipe_data["data"]["train"]
    assert found(recipe_data) == [
        "data.calibration.from: draws from 'train', but data.train is not given",
        "baseline.train: needs data.train",
        "steps.0: trains, which needs data.train",
        "steps.1: needs a teacher: 'teacher: baseline' or a model block",
        "steps.1: trains, which needs data.train",
    ]


def test_module_steps_come_before_artifact_steps(recipe_data: dict[str, Any]) -> None:
    recipe_data["steps"].reverse()
    assert found(recipe_data) == [
        f"steps.{n}: '{method}' changes a torch module, but steps.0 has already made quantized "
        "files; move it before the quantize step"
        for n, method in ((1, "distill"), (2, "prune"))
    ]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (
            {"runtime": "onnxruntim"},
            "targets.0.runtime: unknown runtime 'onnxruntim', allowed: "
            "litert, onnxruntime, pytorch; did you mean 'onnxruntime'?",
        ),
        (
            {"runtime": "onnxruntime", "precision": "bf16"},
            "targets.0.precision: onnxruntime on cpu cannot hold bf16, allowed: auto, fp32, fp16, "
            "int8",
        ),
        (
            {"runtime": "onnxruntime", "precision": "fp16"},
            "targets.0.precision: is fp16, but no step quantizes to it for this runtime",
        ),
        (
            {"runtime": "pytorch", "precision": "int8"},
            "targets.0.precision: pytorch on cpu cannot hold int8, allowed: auto, fp32, bf16",
        ),
        (
            {"runtime": "litert", "device": "cuda"},
            "targets.0.device: litert runs on cpu only here, found cuda",
        ),
    ],
)
def test_a_target_must_exist_and_hold_its_precision(
    recipe_data: dict[str, Any],
    target: dict[str, Any],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(cpu.OVERRIDE, "x86_vnni")
    recipe_data["targets"] = [target]
    assert expected in found(recipe_data)


def test_a_runtime_that_is_not_installed_is_told(
    recipe_data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = {"not_installed_here": "not-installed-here"}
    spec = replace(onnxruntime.SPEC, needs=needs, export_needs={})
    monkeypatch.setattr(onnxruntime, "SPEC", spec)
    assert found(recipe_data) == [
        "targets.0.runtime: onnxruntime is not installed (no not_installed_here); "
        "pip install 'squeeze[onnx]' or set if_available: true"
    ]
    recipe_data["targets"][0]["if_available"] = True
    assert found(recipe_data) == []
    recipe_data["steps"][0] = {
        "method": "prune",
        "speedup": {"runtime": "onnxruntime", "at_least": 1.5},
    }
    assert found(recipe_data) == [
        "steps.0.speedup.runtime: onnxruntime is not installed (no not_installed_here); "
        "pip install 'squeeze[onnx]'"
    ]


def test_int8_needs_a_step_and_the_step_a_target(recipe_data: dict[str, Any]) -> None:
    recipe_data["targets"] = [{"runtime": "pytorch"}]
    assert found(recipe_data) == [
        "targets: the quantize step makes static_int8 files, which no target takes: pytorch: "
        "PyTorch runs bundles, which hold no int8; allowed: fp16, bf16"
    ]
    recipe_data["targets"] = [{"runtime": "onnxruntime", "precision": "int8"}]
    del recipe_data["steps"][2]
    assert found(recipe_data) == [
        "targets.0.precision: is int8, but no step quantizes to it for this runtime"
    ]


def test_names_are_looked_up(recipe_data: dict[str, Any]) -> None:
    recipe_data["steps"][0]["importance"] = "l3"
    recipe_data["steps"][1]["losses"] = [{"name": "kdd"}]
    recipe_data["steps"][2]["backend"] = "onnx"
    recipe_data["data"]["validation"] = "builtin:digit"
    recipe_data["gates"] = [{"metric": "size", "max_bytes": 1, "target": "onxruntime"}]
    text = "\n".join(found(recipe_data))
    for near in ("'l2'", "'kd'", "'onnxruntime'", "'digits'"):
        assert f"did you mean {near}?" in text


def test_files_that_are_missing_are_told(recipe_data: dict[str, Any], tmp_path: Path) -> None:
    recipe_data["model"] |= {"build": "./net.py:make", "weights": "w.safetensors"}
    recipe_data["data"]["train"] = "pictures/train"
    assert found(recipe_data, tmp_path) == [
        "model.weights: no such file or folder: w.safetensors",
        "model.build: no such file: ./net.py",
        "data.train.path: no such folder: pictures/train",
    ]
    del recipe_data["model"]["weights"]
    assert "model.build: no such file: ./net.py" in found(recipe_data, tmp_path)
    (tmp_path / "w").mkdir()
    recipe_data["model"]["weights"] = "w"
    assert found(recipe_data, tmp_path)[0] == (
        "model.weights: w is a folder without architecture.json, so it is not a bundle"
    )


def test_two_targets_need_two_names(recipe_data: dict[str, Any]) -> None:
    recipe_data["targets"] = [{"runtime": "onnxruntime"}, {"runtime": "onnxruntime", "threads": 2}]
    assert found(recipe_data) == [
        "targets.1: has the name 'onnxruntime' of targets.0; give one of them another 'name'"
    ]
    recipe_data["targets"][1]["name"] = "two-threads"
    assert found(recipe_data) == []


@pytest.fixture
def plug_in_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that adds a runtime 'tiny', and no backend of that name."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "tiny_runtime.py").write_text(
        "from squeeze.core.specs import RuntimeSpec\n"
        "SPEC = RuntimeSpec('.tiny', {'cpu': ('fp32', 'int8')}, {}, 'tiny-runtime')\n"
    )
    record = tmp_path / "tiny_runtime-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-runtime\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text("[squeeze.runtimes]\ntiny = tiny_runtime\n")


@pytest.mark.usefixtures("plug_in_runtime")
def test_a_plug_in_runtime_needs_a_backend_for_quantized_files(recipe_data: dict[str, Any]) -> None:
    recipe_data["targets"] = [{"runtime": "onnxruntime"}, {"runtime": "tiny"}]
    assert found(recipe_data) == [
        "targets.1.runtime: no quantization backend 'tiny' is installed, which would make the "
        "files of tiny; installed: litert, neural_compressor, onnxruntime, pytorch"
    ]
    recipe_data["targets"][1]["precision"] = "fp32"  # gets the float file
    assert found(recipe_data) == []
    recipe_data["targets"][1]["precision"] = "auto"
    del recipe_data["steps"][2]
    assert found(recipe_data) == []
