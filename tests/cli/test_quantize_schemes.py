"""``squeeze quantize --scheme``: what is refused before anything runs, and one whole run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def squeeze(folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "squeeze", "quantize", *map(str, arguments)],
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
        env=os.environ | {"COLUMNS": "400", "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize(
    ("model", "flags", "says"),
    [
        ("builtin:resnet8", ["--scheme", "bf16"], "ONNX Runtime has no bfloat16 convolution"),
        ("builtin:resnet8", ["--scheme", "int4"], "unknown scheme 'int4', allowed: bf16, dynamic_"),
        (
            "builtin:resnet8",
            ["--scheme", "dynamic_int8", "--target", "pytorch"],
            "PyTorch runs bundles, which hold no int8",
        ),
        (
            "builtin:resnet8",
            ["--autotune", "0.01"],
            "needs '--backend neural_compressor'",
        ),
        ("model.int8.onnx", [], "model.int8.onnx is an exported file, float or quantized"),
        ("model.tflite", [], "model.tflite is an exported file, float or quantized"),
    ],
)
def test_what_cannot_be_made_is_told_before_anything_runs(
    model: str, flags: list[str], says: str, tmp_path: Path
) -> None:
    done = squeeze(tmp_path, model, "--validation", "builtin:digits", "--input", "1,12,12", *flags)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_weights_alone_are_quantized_without_calibration_data(
    files: dict[str, Path], tmp_path: Path
) -> None:
    flags = ["--validation", "builtin:digits", "--scheme", "weight_only_int8", "--json"]
    done = squeeze(tmp_path, files["bundle"], *flags, "--target", "onnxruntime")
    assert done.returncode == 0, done.stderr
    (results,) = tmp_path.glob("runs/*/*/results.json")
    record = json.loads(results.read_text(encoding="utf-8"))
    baseline, made = record["rows"]
    assert (baseline["precision"], made["precision"]) == ("fp32", "int8_weights")
    assert made["coverage"]["int8"] == 0
    assert made["size_bytes"] < 0.4 * baseline["size_bytes"]
    assert made["change"]["agreement"]["value"] > 0.97
    assert made["accuracy"]["samples"] == 540
    notes = record["models"][-1]["notes"]
    assert "onnxruntime: backend onnxruntime: the runtime's own, " in "\n".join(notes)
    assert any("accuracy recovery: none, there is no calibration data" in note for note in notes)
