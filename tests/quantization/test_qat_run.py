"""Training for int8 from a recipe: what was trained is what both files compute."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

import squeeze
from squeeze.core.errors import InputError, RecipeError
from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.models import bundle
from squeeze.quantization.qat import simulation
from squeeze.recipe import plan
from squeeze.results import Results
from squeeze.runtimes.base import Execution
from squeeze.runtimes.runtime import load as load_runtime

litert, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")

pytestmark = pytest.mark.usefixtures("portable_cpu")

Write = Callable[[Any], Path]
RUNTIMES: dict[str, Any] = {"onnx": onnxruntime, "tflite": litert}
RECIPE = """\
version: 1
name: qat
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
  - method: quantize
    scheme: qat_int8
    weight_bits: 7
    epochs: 2
    lr: 0.005
    losses: [{name: kd}]
targets:
  - {runtime: onnxruntime}
  - {runtime: litert}
gates:
  - {metric: int8_coverage, target: onnxruntime, min: 1.0}
  - {metric: int8_coverage, target: litert, min: 1.0}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    """Prune, distill and train for int8, all from one recipe."""
    folder = tmp_path_factory.mktemp("qat")
    (folder / "recipe.yaml").write_text(RECIPE)
    loaded = squeeze.load_recipe(folder / "recipe.yaml")
    results, run = squeeze.run(loaded, output=folder / "runs", progress=Silent())
    return results, run.path


@pytest.fixture(scope="module")
def simulated(finished: tuple[Results, Path]) -> simulation.Simulation:
    place = finished[1] / "steps" / "3-quantize"
    ranges = simulation.read(place)
    assert ranges is not None
    assert ranges.bits == 7
    return simulation.of_trained(bundle.load(place), ranges)


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_the_file_predicts_what_the_simulation_predicts(
    kind: str, finished: tuple[Results, Path], simulated: simulation.Simulation, digits: Data
) -> None:
    path = finished[1] / "artifacts" / f"3-quantize.{kind}"
    images, labels = digits.validation.batch(range(len(digits.validation)))
    session = RUNTIMES[kind].open_session(path, Execution())
    found = session.invoke(session.prepare(images))
    session.close()
    with torch.inference_mode():
        expected = simulated.module.eval()(torch.from_numpy(images)).numpy()
    assert (found.argmax(1) == expected.argmax(1)).mean() >= 0.99
    low, high = simulated.ranges().activations["fc"]
    assert np.abs(found - expected).max() <= 4 * (high - low) / 255
    (kept,) = (epoch.score for epoch in finished[0].models[-1].epochs if epoch.kept)
    assert (expected.argmax(1) == labels).mean() == pytest.approx(kept, abs=1e-9)
    coverage = RUNTIMES[kind].coverage(path)
    assert (coverage.int8, coverage.total, coverage.survivors) == (10, 10, ())


def test_trained_ranges_and_weights_are_in_the_onnx_file(
    finished: tuple[Results, Path], simulated: simulation.Simulation
) -> None:
    graph = onnx.load(finished[1] / "artifacts" / "3-quantize.onnx").graph
    numbers = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    grids = [
        tuple(float(numbers[name]) for name in node.input[1:3])
        for node in graph.node
        if node.op_type == "QuantizeLinear" and numbers[node.input[1]].ndim == 0
    ]
    _check_grids(simulated, grids, zero_at=0)
    weights = [t.astype(int) for t in numbers.values() if t.dtype == np.int8 and t.ndim > 1]
    assert [int(np.abs(t).max()) for t in weights] == [64] * 10


def test_trained_ranges_and_weights_are_in_the_litert_file(
    finished: tuple[Results, Path], simulated: simulation.Simulation
) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(finished[1] / "artifacts" / "3-quantize.tflite"))
    interpreter.allocate_tensors()
    grids, largest = [], []
    for detail in interpreter.get_tensor_details():
        scales = detail["quantization_parameters"]["scales"]
        if detail["dtype"] == np.int8 and len(scales) == 1:
            zero = detail["quantization_parameters"]["zero_points"][0]
            grids.append((float(scales[0]), float(zero)))
        elif detail["dtype"] == np.int8 and len(scales) > 1:
            weight = interpreter.get_tensor(detail["index"]).astype(int)
            largest.append(int(np.abs(weight).max()))
    _check_grids(simulated, grids, zero_at=-128)
    assert largest == [64] * 10


def _check_grids(
    simulated: simulation.Simulation, grids: list[tuple[float, float]], *, zero_at: int
) -> None:
    """Compare a file's scales and zero points with the trained ranges, and the reverse."""
    ranges = simulated.ranges().activations.values()
    trained = {((high - low) / 255, round(-low / ((high - low) / 255))) for low, high in ranges}
    assert len(trained) == 15
    for step, zero in trained:
        close = [g for g in grids if g[0] == pytest.approx(step, rel=1e-4)]
        assert close, (step, zero)
        assert any(round(g[1]) == zero + zero_at for g in close), (step, zero, close)


def test_the_record_says_how_it_was_trained(finished: tuple[Results, Path]) -> None:
    results, folder = finished
    assert [s.name for s in results.models] == ["baseline", "1-prune", "2-distill", "3-quantize"]
    state = results.models[-1]
    assert len(state.epochs) == 2
    assert state.bundle == "steps/3-quantize"
    assert state.notes[0] == "7-bit weights, 15 learned ranges of activations"
    assert state.notes[1].startswith("before training: channels of ")
    assert "groups of activations equalized" in state.notes[1]
    assert state.notes[2] == "teacher: baseline"
    for target in ("onnxruntime", "litert"):
        note = "trained ranges of 16 of 16 activations are in the file"
        assert f"{target}: {note}" in state.notes
    rows = {(row.model, row.target): row for row in results.rows}
    for target in ("onnxruntime", "litert"):
        assert rows["3-quantize", target].precision == "int8"
        assert rows["2-distill", target].precision == "fp32"
    assert all(gate.verdict == "pass" for gate in results.gates)
    stored = json.loads((folder / "steps/3-quantize/ranges.json").read_text())
    assert stored["bits"] == 7


@pytest.mark.slow
def test_a_second_run_takes_the_training_over(finished: tuple[Results, Path]) -> None:
    results, folder = finished
    loaded = squeeze.load_recipe(folder.parents[2] / "recipe.yaml")
    again, _ = squeeze.run(loaded, output=folder.parents[1], progress=Silent())
    assert again.models[-1].reused_from == folder.name
    tops = [[r.accuracy.top1.value for r in x.rows if r.accuracy] for x in (results, again)]
    assert tops[0] == tops[1]


def mistakes(write_recipe: Write, recipe: dict[str, Any]) -> str:
    with pytest.raises(RecipeError) as raised:
        plan.check(squeeze.load_recipe(write_recipe(recipe)))
    return str(raised.value)


def qat(recipe: dict[str, Any], **changes: Any) -> dict[str, Any]:
    step = {"method": "quantize", "scheme": "qat_int8", "epochs": 1} | changes
    return recipe | {"steps": [step]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": [{"name": "kdd"}]}, "steps.0.losses.0.name: unknown loss 'kdd'"),
        ({"precision": "bf16"}, "steps.0.precision: found bf16, allowed: fp32; int8 is simulated"),
        ({"recovery": {}}, "unknown key 'recovery'"),
        ({"backend": "tensorrt"}, "unknown backend 'tensorrt'"),
        ({"epochs": 0}, "steps.0.epochs: found 0"),
        (
            {"scheme": "qat_int4"},
            "steps.0: unknown scheme 'qat_int4', allowed: bf16, dynamic_int8, fp16, qat_int8, ",
        ),
    ],
)
def test_mistakes_are_told_at_their_place(
    changes: dict[str, Any], message: str, write_recipe: Write, recipe_data: dict[str, Any]
) -> None:
    assert message in mistakes(write_recipe, qat(recipe_data, **changes))


def test_training_for_int8_needs_data_to_train_and_to_calibrate(
    write_recipe: Write, recipe_data: dict[str, Any]
) -> None:
    recipe = qat(recipe_data) | {"data": {"validation": "builtin:digits"}}
    del recipe["baseline"]
    found = mistakes(write_recipe, recipe)
    assert "steps.0: trains, which needs data.train" in found
    assert "steps.0: qat_int8 needs calibration data" in found


def test_flags_do_not_train_for_int8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from squeeze.cli.quantize import AccuracyFlags, CalibrationFlags, FileFlags, quantize

    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="takes more settings than there are flags"):
        quantize(
            None,  # type: ignore[arg-type]
            calibration=CalibrationFlags(),
            files=FileFlags(scheme="qat_int8"),
            accuracy=AccuracyFlags(),
        )
