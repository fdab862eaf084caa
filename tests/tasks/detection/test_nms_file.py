"""ONNX files that end at boxes: float and int8, of a run and of ``squeeze export``."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from squeeze.cli.app import main
from squeeze.core.errors import SqueezeError
from squeeze.exporting import embedded, file
from squeeze.measure import latency
from squeeze.models import bundle
from squeeze.models.blocks import build
from squeeze.models.types import Model
from squeeze.pipeline.run import run
from squeeze.recipe.load import load_recipe
from squeeze.recipe.schema import InputSpec, ModelBlock
from squeeze.results import Results
from squeeze.runtimes.base import Execution, several
from squeeze.runtimes.runtime import load as load_runtime
from squeeze.tasks.detection import decoding, nms_file

onnxruntime = load_runtime("onnxruntime")

pytestmark = pytest.mark.usefixtures("portable_cpu")

SIZE = (64, 96)
FACTORY = Path(__file__).with_name("small_detector.py")
MODEL = ModelBlock(
    build=f"{FACTORY}:make",
    args={"classes": 10},
    input=InputSpec(shape=(3, *SIZE), fit="letterbox"),
)
RECIPE: dict[str, Any] = {
    "version": 1,
    "name": "boxes",
    "task": "detection",
    "model": MODEL.model_dump(mode="json", exclude_defaults=True),
    "data": {
        "train": {"format": "digit_scenes", "args": {"scenes": 12}},
        "validation": {"format": "digit_scenes", "args": {"scenes": 4}},
        "calibration": {"from": "train", "samples": 8},
    },
    "steps": [{"method": "quantize", "recovery": {"equalize": False, "bias_correction": False}}],
    "targets": [{"runtime": "onnxruntime", "nms": True}],
}


@pytest.fixture(scope="module")
def model() -> Model:
    return build(MODEL, Path())


@pytest.fixture(scope="module")
def saved(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle.save(model, tmp_path_factory.mktemp("saved") / "detector")


@pytest.fixture(scope="module")
def finished(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    folder = tmp_path_factory.mktemp("run")
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        yaml.safe_dump(RECIPE | {"model": {"build": MODEL.build, "weights": str(saved)}})
    )
    results, made = run(load_recipe(recipe), output=folder)
    return results, made.path


def test_a_run_leaves_them_beside_the_raw_files(finished: tuple[Results, Path]) -> None:
    results, folder = finished
    assert [row.with_nms for row in results.rows] == [
        "artifacts/baseline.nms.onnx",
        "artifacts/1-quantize.nms.onnx",
    ]
    for page in ("report.md", "report.html"):
        assert "artifacts/1-quantize.nms.onnx" in (folder / page).read_text()
    path = folder / "artifacts" / "1-quantize.nms.onnx"
    record = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert embedded.read(path) == {
        key: record[key] for key in record if key not in {"file", "sha256"}
    }
    raw = embedded.read(folder / "artifacts" / "1-quantize.onnx")
    assert raw is not None
    assert raw["detector"]
    assert list(record["detections"]) == ["boxes", "scores", "classes", "count"]
    assert "detector" not in record


def test_the_speedup_is_of_what_an_application_waits_for(finished: tuple[Results, Path]) -> None:
    """Decoding takes longer than these few convolutions, and counts."""
    results, folder = finished
    before, after = results.rows
    for row in (before, after):
        assert row.latency is not None
        assert row.network_latency is not None
        assert row.network_latency.median_s < row.latency.median_s
    assert before.latency is not None
    assert after.latency is not None
    assert after.speedup is not None
    ratio = before.latency.median_s / after.latency.median_s
    assert after.speedup.value == pytest.approx(ratio)
    assert after.speedup.low <= ratio <= after.speedup.high
    text = (folder / "report.md").read_text()
    for shown in ("Latency with decoding", "Network only", f"Speed-up: {ratio:.2f}x ["):
        assert shown in text


def test_a_detector_that_finds_nothing_heads_the_report(finished: tuple[Results, Path]) -> None:
    results, folder = finished
    warning = "baseline on onnxruntime detects almost nothing: mAP is "
    assert results.warnings[0].startswith(warning)
    text = (folder / "report.md").read_text()
    assert text.index(warning) < text.index("Network only")


@pytest.mark.parametrize("state", ["baseline", "1-quantize"])
def test_they_find_what_decoding_the_raw_file_finds(
    finished: tuple[Results, Path], model: Model, state: str
) -> None:
    raw = finished[1] / "artifacts" / f"{state}.onnx"
    images = np.random.default_rng(0).standard_normal((3, 3, *SIZE), dtype=np.float32)
    outputs = []
    for path in (raw, nms_file.path_of(raw)):
        session = onnxruntime.open_session(path, Execution())
        outputs.append(several(session.invoke(session.prepare(images))))
        session.close()
    spec = nms_file.spec_of(model)
    expected, found = decoding.detections(outputs[0], spec, SIZE), nms_file.detections(outputs[1])
    for one, other in zip(found, expected, strict=True):
        assert len(one) == len(other) == 30
        assert np.allclose(one.xyxy, other.xyxy, atol=1e-3)
        assert np.allclose(one.scores, other.scores, atol=1e-4)
        assert (one.classes == other.classes).all()


def test_int8_kernels_stay_what_they_were(finished: tuple[Results, Path]) -> None:
    results, folder = finished
    row = results.rows[-1]
    coverage = onnxruntime.coverage(folder / str(row.with_nms))
    assert row.coverage is not None
    assert (coverage.int8, coverage.total) == (row.coverage.int8, row.coverage.total)
    assert coverage.int8 > 0.9 * coverage.total


def squeeze(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> Any:
    monkeypatch.setattr(sys, "argv", ["squeeze", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code


def test_bench_says_of_which_files_decoding_is_not_in_the_time(
    finished: tuple[Results, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(latency, "_MAX_ROUNDS", 15)
    raw = finished[1] / "artifacts" / "baseline.onnx"
    assert squeeze(monkeypatch, "bench", raw, nms_file.path_of(raw), "--quiet", "--json") in {
        0,
        None,
    }
    found = json.loads(capsys.readouterr().out)["measurements"]
    assert [each["decoded"] for each in found] == [False, True]
    first, second = (each["latency"]["median_s"] for each in found)
    assert found[1]["speedup"]["value"] == pytest.approx(first / second)
    squeeze(monkeypatch, "bench", raw, nms_file.path_of(raw), "--quiet")
    assert capsys.readouterr().out.count("without decoding") == 1


def test_such_a_file_is_evaluated_as_it_is(
    finished: tuple[Results, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = []
    for name in ("baseline.onnx", "baseline.nms.onnx"):
        path = finished[1] / "artifacts" / name
        flags = ("--validation", "builtin:digit_scenes", "--json", "--quiet")
        assert not squeeze(monkeypatch, "eval", path, *flags)
        found.append(json.loads(capsys.readouterr().out)["files"][0]["accuracy"])
    assert found[0]["map"]["value"] == pytest.approx(found[1]["map"]["value"], abs=1e-4)


def test_export_writes_one_too(
    saved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = ("export", saved, "--allow-code", MODEL.build, "--nms", "-o", tmp_path)
    assert not squeeze(monkeypatch, *place, "--to", "onnx")
    assert "100.0% of 120 detections in random images" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"detector{end}" for end in (".nms.onnx", ".nms.onnx.json", ".onnx", ".onnx.json")
    ]
    again = squeeze(monkeypatch, *place, "--to", "tflite")
    assert again == 2
    assert "--nms: goes with --to onnx" in capsys.readouterr().err


def test_a_file_that_finds_something_else_is_no_result(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file.write("state", model, onnxruntime, 1, tmp_path, None)
    monkeypatch.setattr(nms_file, "_PIXELS", -1.0)  # nothing is ever the same
    images = np.zeros((1, 3, *SIZE), np.float32)
    with pytest.raises(SqueezeError, match="only 0 of 30 detections are those of the raw file"):
        nms_file.write(path, model, images)
    assert not nms_file.path_of(path).exists()
