"""The files that ship: made once, bound to their batch, left out with a reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from squeeze.core.errors import SqueezeError
from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.models.types import Model
from squeeze.pipeline import artifacts, measurements
from squeeze.pipeline.models import ModelState
from squeeze.pipeline.steps import RunContext
from squeeze.recipe.schema import Recipe
from squeeze.results import ModelRecord, Parity, Row
from squeeze.store import RunFolder
from squeeze.tasks.classification import task as classification


def recipe(targets: list[dict[str, Any]], **step: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "version": 1,
            "name": "x",
            "model": {"build": "builtin:resnet8", "input": {"shape": [1, 12, 12]}},
            "data": {"validation": "builtin:digits"},
            "steps": [{"method": "quantize", **step}],
            "targets": targets,
        }
    )


def states(trained: Model, bundle: Path) -> list[ModelState]:
    record = ModelRecord(name="baseline", method="baseline", params=7, macs=9, seconds=0)
    return [ModelState(record, trained, bundle, "key")]


def make(
    chosen: Recipe, trained: Model, digits: Data, bundle: Path, root: Path
) -> tuple[artifacts.Artifacts, RunFolder]:
    folder = RunFolder.create(root, "x")
    context = RunContext(chosen, Path(), digits, classification, folder, Silent())
    return artifacts.make(context, states(trained, bundle)), folder


def test_targets_share_files_and_every_batch_size_has_its_own(
    trained: Model, digits: Data, tmp_path: Path, files: dict[str, Path]
) -> None:
    targets: list[dict[str, Any]] = [
        {"runtime": "onnxruntime", "batch_size": [1, 8]},
        {"runtime": "onnxruntime", "name": "two", "threads": 2},
        {"runtime": "litert", "batch_size": [1, 2]},
    ]
    shipped, folder = make(recipe(targets), trained, digits, files["bundle"], tmp_path)
    names = {
        place: [candidate.path.name for candidate in found]
        for place, found in shipped.candidates.items()
    }
    onnx, one = ["baseline.onnx", "1-quantize.onnx"], ["baseline.tflite", "1-quantize.tflite"]
    assert names == {
        ("onnxruntime", 1): onnx,
        ("onnxruntime", 8): onnx,
        ("two", 1): onnx,
        ("litert", 1): one,
        ("litert", 2): ["baseline.b2.tflite", "1-quantize.b2.tflite"],
    }
    batches = {
        path.name: json.loads(path.read_text(encoding="utf-8"))["batch"]
        for path in folder.artifact("").glob("*.json")
    }
    assert batches == {
        "baseline.onnx.json": "dynamic",
        "1-quantize.onnx.json": "dynamic",
        "baseline.tflite.json": 1,
        "1-quantize.tflite.json": 1,
        "baseline.b2.tflite.json": 2,
        "1-quantize.b2.tflite.json": 2,
    }
    (record,) = shipped.records
    assert (record.name, record.params, record.macs) == ("1-quantize", 7, 9)
    prefixes = [note.partition(":")[0] for note in record.notes]
    speakers = dict.fromkeys(who for who in prefixes if not who.startswith("for "))
    assert list(speakers) == ["onnxruntime", "litert"]
    assert any("backend litert: the runtime's own" in note for note in record.notes)
    assert prefixes[0] in {"for 7-bit weights", "for 8-bit weights"}
    assert shipped.skipped == ()


def test_what_stays_float_says_why(
    trained: Model, digits: Data, tmp_path: Path, files: dict[str, Path]
) -> None:
    targets: list[dict[str, Any]] = [
        {"runtime": "pytorch"},
        {"runtime": "onnxruntime", "precision": "fp32", "name": "float"},
        {"runtime": "onnxruntime"},
    ]
    chosen = recipe(targets, backend="litert")
    shipped, _ = make(chosen, trained, digits, files["bundle"], tmp_path)
    assert [(row.target, row.model, row.skipped) for row in shipped.skipped] == [
        (
            "pytorch",
            "1-quantize",
            "PyTorch runs bundles, which hold no int8; allowed: fp16, bf16; "
            "the float model above ships here",
        ),
        (
            "float",
            "1-quantize",
            "the target asks for fp32; the float model above ships here",
        ),
        (
            "onnxruntime",
            "1-quantize",
            "the quantize step's backend is litert; the float model above ships here",
        ),
    ]
    assert {len(found) for found in shipped.candidates.values()} == {1}


def test_an_export_that_changed_the_model_is_refused() -> None:
    base: dict[str, Any] = {
        "model": "baseline",
        "target": "t",
        "runtime": "onnxruntime",
        "device": "cpu",
        "precision": "fp32",
        "threads": 1,
        "batch_size": 1,
        "artifact": "a.onnx",
    }
    good = Parity(samples=16, max_difference=0.05, scale=5.0, same_class=1.0)
    measurements.check_parity([Row(**base, parity=good), Row(**base)])
    bad = good.model_copy(update={"max_difference": 0.06})
    with pytest.raises(SqueezeError, match=r"a\.onnx on t: its outputs differ from torch"):
        measurements.check_parity([Row(**base, parity=bad)])
