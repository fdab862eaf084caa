"""The shipped recipe for detection, the whole way on few scenes: steps, files, gates, report."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from squeeze.report import write
from squeeze.results import DetectionAccuracy, DetectionChange, Results

RECIPE = Path(__file__).parents[1] / "recipes" / "digit_scenes_tinydet.yaml"
QUICK = {
    "data.train.args.scenes": 32,
    "data.validation.args.scenes": 12,
    "data.calibration.samples": 16,
    "baseline.train.epochs": 2,
    "steps.0.finetune.epochs": 1,
    "steps.1.epochs": 1,
    "targets.0.nms": "true",
    "gates.0.max_drop": 1.0,  # there is nothing to lose after so few epochs
}
STATES = ["baseline", "1-prune", "2-distill", "3-quantize"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    flags = [flag for key, value in QUICK.items() for flag in ("--set", f"{key}={value}")]
    done = subprocess.run(
        [sys.executable, "-m", "squeeze", "run", str(RECIPE), "--output", str(runs), *flags],
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "240"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pass  macs" in done.stdout
    assert "mAP" in done.stdout
    (found,) = (runs / "digit_scenes_tinydet").iterdir()
    return found


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    return write.read(folder)


def test_every_state_is_measured_as_a_detector_in_both_runtimes(results: Results) -> None:
    assert [state.name for state in results.models] == STATES
    for target in ("onnxruntime", "litert"):
        rows = [row for row in results.rows if row.target == target]
        assert [row.model for row in rows] == STATES
        for row in rows:
            assert isinstance(row.accuracy, DetectionAccuracy)
            assert row.accuracy.samples == 12
            assert len(row.accuracy.per_class) == 10
            assert row.latency is not None
            assert row.network_latency is not None
            assert (row.change is None) == (row.model == "baseline")
        assert isinstance(rows[-1].change, DetectionChange)
        assert rows[-1].coverage is not None
        assert rows[-1].coverage.int8 > 0.9 * rows[-1].coverage.total


def test_the_same_model_scores_the_same_in_both_runtimes(results: Results) -> None:
    for state in STATES[:3]:
        found = [
            row.accuracy.map.value
            for row in results.rows
            if row.model == state and isinstance(row.accuracy, DetectionAccuracy)
        ]
        assert len(found) == 2
        assert found[0] == pytest.approx(found[1], abs=0.02)


def test_pruning_left_the_heads_outputs_and_files_tell_how_to_read_them(
    folder: Path, results: Results
) -> None:
    assert results.models[0].macs / results.models[1].macs > 1.5
    for kind in ("onnx", "tflite"):
        record = json.loads((folder / "artifacts" / f"3-quantize.{kind}.json").read_text())
        assert record["detector"]["decoder"] == "anchor_free"
        assert record["detector"]["classes"] == 10


def test_files_that_end_at_boxes_lie_beside_the_raw_ones(folder: Path, results: Results) -> None:
    found = [row.with_nms for row in results.rows if row.target == "onnxruntime"]
    assert found == [f"artifacts/{state}.nms.onnx" for state in STATES]
    assert all((folder / str(name)).is_file() for name in found)


def test_the_report_is_about_boxes(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert "Average precision by class" in page
    assert "Precision over recall" in page
    assert "Top-1" not in page
    assert "Average precision by class" in (folder / "report.md").read_text()


def test_a_shipped_file_is_evaluated_without_the_recipe(folder: Path, results: Results) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "squeeze",
            "eval",
            str(folder / "artifacts" / "3-quantize.onnx"),
            "--validation",
            "builtin:digit_scenes",
            "--json",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["files"][0]["accuracy"]
    assert found["samples"] == 160
    assert len(found["per_class"]) == len(
        next(
            row.accuracy.per_class
            for row in results.rows
            if isinstance(row.accuracy, DetectionAccuracy)
        )
    )
