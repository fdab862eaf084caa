"""The whole way on real scans: rows, files, gates, reports, resume."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch

import squeeze
from squeeze.cli import console
from squeeze.core import cpu
from squeeze.core.errors import InputError
from squeeze.core.types import Silent
from squeeze.exporting import embedded
from squeeze.measure import latency
from squeeze.recipe.load import from_data
from squeeze.report import html, write
from squeeze.results import Results
from squeeze.store import checksums

pytestmark = pytest.mark.usefixtures("portable_cpu")

Write = Callable[[Any], Path]
NO_INT8 = "the target asks for fp32; the float model above ships here"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of a recipe with all three steps and runtimes; returns its folder."""
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "recipe.yaml").write_text(RECIPE)
    loaded = squeeze.load_recipe(folder / "recipe.yaml")
    _, run = squeeze.run(loaded, output=folder / "runs", progress=Silent(), command="test")
    return run.path


RECIPE = """\
version: 1
name: small
model:
  build: builtin:resnet8
  args: {num_classes: 10, in_channels: 1}
  input: {shape: [1, 12, 12], mean: [0.3], std: [0.35], crop_fraction: 1.0}
data:
  train: builtin:digits
  validation: builtin:digits
  calibration: {from: train, samples: 32}
baseline: {train: {epochs: 3, lr: 0.1}}
steps:
  - {method: prune, pruning_ratio: 0.5, finetune: {epochs: 1, lr: 0.05}}
  - {method: distill, teacher: baseline, epochs: 1, lr: 0.05}
  - {method: quantize}
targets:
  - {runtime: onnxruntime, batch_size: [1, 4]}
  - {runtime: litert}
  - {runtime: pytorch, precision: fp32}
  - {runtime: pytorch, device: cuda, precision: fp16, if_available: true}
gates:
  - {metric: macs, min_reduction: 2}
  - {metric: top1, max_drop: 0.5}
  - {metric: int8_coverage, target: onnxruntime, min: 1.0}
"""


LAST = "2-distill"


def results_of(folder: Path) -> Results:
    return write.read(folder)


def test_every_state_has_a_row_on_every_target(finished: Path) -> None:
    results = results_of(finished)
    states = ["baseline", "1-prune", "2-distill", "3-quantize"]
    assert [state.name for state in results.models] == states
    for place in (("onnxruntime", 1), ("onnxruntime", 4), ("litert", 1), ("pytorch", 1)):
        rows = [row for row in results.rows if (row.target, row.batch_size) == place]
        assert sorted(row.model for row in rows) == sorted(states), place
        for row in rows:
            if row.skipped is not None:
                assert place[0] == "pytorch"
                assert row.skipped == NO_INT8
                continue
            assert row.accuracy is not None
            assert row.accuracy.samples == 540
            assert row.latency is not None
            assert row.latency.median_s > 0
            assert row.size_bytes
            assert row.peak_memory_bytes
            assert (row.speedup is None) == (row.model == "baseline")
            assert (row.parity is None) == (row.precision == "int8")
    if not torch.cuda.is_available():
        (cuda,) = (row for row in results.rows if row.target == "pytorch-cuda")
        assert cuda.skipped == "no CUDA device here"


def test_the_same_model_scores_the_same_in_every_runtime(finished: Path) -> None:
    results = results_of(finished)
    for state in ("baseline", "1-prune", "2-distill"):
        scores = [
            row.accuracy.top1.value
            for row in results.rows
            if row.model == state and row.accuracy is not None
        ]
        assert len(scores) >= 4
        assert max(scores) - min(scores) < 2 / 540, state


def test_the_files_that_ship_are_there_with_their_description(finished: Path) -> None:
    names = {path.name for path in (finished / "artifacts").iterdir()}
    for state in ("baseline", "1-prune", "2-distill", "3-quantize"):
        for kind in ("onnx", "tflite"):
            assert {f"{state}.{kind}", f"{state}.{kind}.json"} <= names
            path = finished / "artifacts" / f"{state}.{kind}"
            beside = json.loads(path.with_name(f"{path.name}.json").read_text())
            assert beside.pop("file") == path.name
            assert beside.pop("sha256") == checksums.of_file(path)
            assert embedded.read(path) == beside
    record = json.loads((finished / "artifacts" / "3-quantize.tflite.json").read_text())
    assert (record["layout"], record["input"]["shape"]) == ("NHWC", [1, 12, 12])
    assert not list(finished.rglob(".*"))
    assert not [path for path in finished.rglob("*") if path.suffix in {".pkl", ".pt", ".pth"}]


def test_bundles_reload_and_match_their_exported_file(finished: Path) -> None:
    import numpy as np

    from squeeze.runtimes.base import Execution
    from squeeze.runtimes.onnxruntime.session import open_session

    module = squeeze.load_bundle(finished / "steps" / "2-distill")
    session = open_session(finished / "artifacts" / "2-distill.onnx", Execution())
    images = np.random.default_rng(0).standard_normal((3, 1, 12, 12)).astype(np.float32)
    with torch.inference_mode():
        expected = module(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(session.invoke(session.prepare(images)), expected, atol=1e-4)


def test_gates_states_and_data_are_recorded(finished: Path) -> None:
    results = results_of(finished)
    assert results.passed
    assert {gate.gate for gate in results.gates} == {"macs", "top1", "int8_coverage"}
    judged = {(gate.target, gate.model) for gate in results.gates if gate.gate == "top1"}
    assert judged == {
        ("onnxruntime", "3-quantize"),
        ("onnxruntime, batch 4", "3-quantize"),
        ("litert", "3-quantize"),
        ("pytorch", "2-distill"),
    }
    assert [(part.role, part.samples) for part in results.data] == [
        ("train", 1257),
        ("calibration", 32),
        ("validation", 540),
    ]
    baseline, pruned = results.models[:2]
    assert baseline.macs > 2 * pruned.macs
    assert len(baseline.epochs) == 3
    assert any("-bit weights: " in note for note in results.models[-1].notes)


def test_results_follow_their_schema(finished: Path) -> None:
    record = json.loads((finished / "results.json").read_text())
    jsonschema.validate(record, Results.model_json_schema())


def test_the_page_is_self_contained_and_complete(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    for reference in re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\'\s>)]+)', page):
        assert reference.startswith(("data:", "#")), reference
    assert "<script" not in page
    for text in (
        "baseline",
        "1-prune",
        "2-distill",
        "3-quantize",
        "the target asks for fp32",
        "pruning_ratio",
        "all gates passed",
        "<svg",
    ):
        assert text in page
    assert "3-quantize" in (finished / "report.md").read_text()


def test_rendering_again_gives_the_same_page(finished: Path) -> None:
    assert html.render(results_of(finished)) == (finished / "report.html").read_text()


def test_a_second_run_takes_finished_steps_over(finished: Path) -> None:
    folder = finished.parents[2]
    loaded = squeeze.load_recipe(folder / "recipe.yaml", ("targets=[{runtime: onnxruntime}]",))
    results, run = squeeze.run(loaded, output=folder / "runs")
    assert [state.reused_from for state in results.models] == [finished.name] * 4
    first = squeeze.load_bundle(finished / "steps" / "2-distill").state_dict()
    for key, value in squeeze.load_bundle(run.path / "steps" / "2-distill").state_dict().items():
        assert torch.equal(value, first[key])
    changed = squeeze.load_recipe(
        folder / "recipe.yaml",
        ("targets=[{runtime: onnxruntime}]", "steps.1.lr=0.01"),
    )
    results, _ = squeeze.run(changed, output=folder / "runs")
    assert [state.reused_from is None for state in results.models] == [False, False, True, True]


def test_every_speedup_is_the_ratio_of_the_medians_in_its_rows(finished: Path) -> None:
    rows = results_of(finished).rows
    for row in rows:
        if row.speedup is None or row.latency is None:
            continue
        place = (row.target, row.batch_size)
        first = next(r for r in rows if (r.target, r.batch_size) == place)
        assert first.latency is not None
        assert row.speedup.value == pytest.approx(first.latency.median_s / row.latency.median_s)
        assert row.speedup.low <= row.speedup.value <= row.speedup.high
        if row.model == "3-quantize":
            source = next(r for r in rows if (r.target, r.batch_size, r.model) == (*place, LAST))
            assert source.latency is not None
            assert row.over_float is not None
            expected = source.latency.median_s / row.latency.median_s
            assert row.over_float.value == pytest.approx(expected)
            assert row.slow_layers is None or row.over_float.high < 1


def test_a_target_without_the_compressed_model_fails_the_run_also_without_a_name(
    recipe_data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, the gates judged the baseline there and passed."""
    monkeypatch.setattr(latency, "_MAX_ROUNDS", 15)
    recipe_data["baseline"]["train"]["epochs"] = 1
    recipe_data |= {
        "steps": [{"method": "quantize"}],
        "targets": [{"runtime": "onnxruntime", "cpu": "arm64"}, {"runtime": "pytorch"}],
        "gates": [
            {"metric": "top1", "max_drop": 1.0},
            {"metric": "latency", "target": "pytorch", "min_speedup": 0.01},
            {"metric": "latency", "target": "onnxruntime", "min_speedup": 0.01},
        ],
    }
    results, folder = squeeze.run(from_data(recipe_data, tmp_path), output=tmp_path / "runs")
    assert not results.passed
    assert [(g.target, g.model, g.verdict) for g in results.gates] == [
        ("onnxruntime", "1-quantize", "pass"),
        ("pytorch", "1-quantize", "fail"),
        ("pytorch", "1-quantize", "fail"),
        ("onnxruntime", "1-quantize", "not_measurable" if cpu.host().is_x86 else "pass"),
    ]
    why = "PyTorch runs bundles, which hold no int8"
    assert all(why in gate.note for gate in results.gates if gate.target == "pytorch")
    for name in ("report.md", "report.html", "results.json"):
        assert why in (folder.path / name).read_text(encoding="utf-8")


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_finished(
    write_recipe: Write, tmp_path: Path, command: list[str]
) -> None:
    text = RECIPE.replace("teacher: baseline, epochs: 1", "teacher: baseline, epochs: 500")
    path, output = write_recipe(text), tmp_path / "runs"
    process = subprocess.Popen(
        [*command, "run", str(path), "-o", str(output)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(output.glob("*/*/steps/1-prune/step.json")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; finished steps and epochs are kept" in stderr
    (run,) = (output / "small").iterdir()
    left = {p.name for p in (run / "steps").iterdir()}
    assert left - {"2-distill.unfinished"} == {"1-prune", "baseline"}
    assert not list(run.rglob(".*"))
    loaded = squeeze.load_recipe(path, ("steps.1.epochs=1", "targets=[{runtime: onnxruntime}]"))
    results, _ = squeeze.run(loaded, output=output)
    assert [s.reused_from for s in results.models[:3]] == [run.name, run.name, None]


def test_the_terminal_shows_what_was_left_out_and_why(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console.summary(results_of(finished))
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out
    assert f"skip  3-quantize on pytorch (cpu, 1 thread, batch 1): {NO_INT8}" in out
    assert out.count("pass  ") == len(results_of(finished).gates)
    assert max(map(len, out.partition("skip ")[0].splitlines())) < 200


def test_fresh_takes_nothing_over_and_gives_the_same_weights(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "_MAX_ROUNDS", 15)
    folder = finished.parents[2]
    sets = ("steps=[]", "targets=[{runtime: onnxruntime}]", "gates=[]")
    loaded = squeeze.load_recipe(folder / "recipe.yaml", sets)
    results, again = squeeze.run(loaded, output=folder / "runs", fresh=True)
    assert [state.reused_from for state in results.models] == [None]
    weights = Path("steps/baseline/weights.safetensors")
    assert (again.path / weights).read_bytes() == (finished / weights).read_bytes()


@pytest.mark.skipif(torch.cuda.is_available(), reason="has the device that is asked for")
def test_a_target_that_cannot_run_is_told_before_the_training(
    write_recipe: Write, tmp_path: Path
) -> None:
    sets = ("steps=[]", "gates=[]", "targets=[{runtime: pytorch, device: cuda}]")
    loaded = squeeze.load_recipe(write_recipe(RECIPE), sets)
    with pytest.raises(InputError, match="target pytorch-cuda: no CUDA device here"):
        squeeze.run(loaded, output=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
