"""The neural-compressor backend: files that are small, and trials that are reported."""

import copy
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.exporting import embedded
from squeeze.models import bundle
from squeeze.models.types import Model
from squeeze.quantization.backends.neural_compressor import quantize as neural_compressor
from squeeze.quantization.backends.neural_compressor.folding import fold_
from squeeze.quantization.request import QuantizedFile, Request
from squeeze.recipe.schema import QuantizeStep
from squeeze.runtimes.base import Execution
from squeeze.runtimes.runtime import load as load_runtime

onnxruntime = load_runtime("onnxruntime")


def test_a_quantizer_behind_stored_weights_is_computed_once(tmp_path: Path) -> None:
    weight = np.array([[1.0, -0.5], [2.0, 0.26]], np.float32)
    stored = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(np.array([0.5, 1.0], np.float32), "scale"),
        numpy_helper.from_array(np.zeros(2, np.int8), "zero"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["weight", "scale", "zero"], ["q"], axis=0),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"], axis=0),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "xy"]
    graph = helper.make_graph(nodes, "one", ends[:1], ends[1:], stored)
    opset = [helper.make_opsetid("", 20)]
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    assert fold_(path) == 1
    found = onnx.load(path).graph
    assert [node.op_type for node in found.node] == ["DequantizeLinear", "MatMul"]
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in found.initializer}
    assert sorted(tensors) == ["q", "scale", "zero"]
    assert tensors["q"].tolist() == [[2, -1], [2, 0]]


def test_trials_without_a_winner_are_told_with_what_each_reached() -> None:
    outcome = neural_compressor.judged(["a", "b"], [0.9, 0.7, 0.85], 0.01)
    assert outcome.notes == (
        "autotune on calibration samples: float 90.0%; a 70.0%, b 85.0%; chose b",
    )
    assert outcome.missed_goal is not None
    assert outcome.missed_goal.limit == "top-1 drop <= 1.00 points"
    assert outcome.missed_goal.found == "5.00 points at best (a 70.0%, b 85.0%)"


def test_the_first_trial_that_is_good_enough_ends_the_list() -> None:
    outcome = neural_compressor.judged(["a", "b", "c"], [0.9, 0.7, 0.89], 0.01)
    assert outcome.missed_goal is None
    assert outcome.notes[0].endswith("a 70.0%, b 89.0%; chose b")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "share", "stored", "in_int8"),
    [
        ({"autotune": {"max_drop": 0.05}}, 0.4, "int8", 5),
        ({"scheme": "fp16"}, 0.6, "float16", 0),
    ],
)
def test_its_files_hold_what_the_scheme_says(
    step: dict[str, Any],
    share: float,
    stored: str,
    in_int8: int,
    trained: Model,
    files: dict[str, Path],
    digits: Data,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out, log = tmp_path / "nc.onnx", tmp_path / "log.txt"
    chosen = QuantizeStep.model_validate({"backend": "neural_compressor", **step})
    outcome: QuantizedFile = neural_compressor.quantize(
        Request(files["onnx"], out, chosen, digits.calibration, Silent(), log, model=trained)
    )
    assert outcome.missed_goal is None
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("neural_compressor").handlers == []
    assert out.stat().st_size < share * files["onnx"].stat().st_size
    images, labels = digits.validation.batch(range(len(digits.validation)))
    predictions = []
    for path in (files["onnx"], out):
        session = onnxruntime.open_session(path, Execution())
        predictions.append(session.invoke(session.prepare(images)).argmax(1))
    assert (predictions[0] == predictions[1]).mean() > 0.95
    assert (predictions[1] == labels).mean() > 0.9
    audit = onnxruntime.audit(out)
    assert audit.coverage.int8 >= in_int8
    floats = audit.weights["float32"].size_bytes if "float32" in audit.weights else 0
    assert audit.weights[stored].size_bytes > 10 * floats


@pytest.mark.slow
def test_a_real_list_without_a_winner_ships_its_best_and_fails_the_run(
    trained: Model, recipe_data: dict[str, Any], write_recipe: Callable[[Any], Path], tmp_path: Path
) -> None:
    model = replace(trained, module=copy.deepcopy(trained.module))
    block: Any = model.module.get_submodule("stages.1.0")
    with torch.no_grad():  # weights of a channel that is always 0 leave int8 no steps for others
        block.bn1.weight[0], block.bn1.bias[0] = 0.0, -1.0
        block.conv2.weight[:, 0] = 1000 * block.conv2.weight.abs().mean()
    bundle.save(model, tmp_path / "spoilt")
    del recipe_data["baseline"]
    step = {"method": "quantize", "backend": "neural_compressor", "autotune": {"max_drop": 0.01}}
    changes: dict[str, Any] = {"steps": [step], "gates": []}
    recipe_data["model"]["weights"] = "spoilt"
    recipe = write_recipe(recipe_data | changes)
    command = [sys.executable, "-m", "squeeze", "run", str(recipe)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    tries = ["min-max", "histogram", "min-max with linear layers in float"]
    missed = re.escape("limit top-1 drop <= 1.00 points (no configuration is good enough: ")
    reached = ", ".join(rf"{each} [\d.]+%" for each in tries)
    line = rf"FAIL +autotune, 1-quantize: [\d.]+ points at best \({reached}\), {missed}"
    assert re.search(line, done.stdout), done.stdout

    (folder,) = (tmp_path / "runs").glob("small/*")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.yaml", "runs", "spoilt"]
    written = [
        f"{name}.onnx{kind}" for name in ("1-quantize", "baseline") for kind in ("", ".json")
    ]
    assert sorted(path.name for path in (folder / "artifacts").iterdir()) == written
    inside = embedded.read(folder / "artifacts" / "1-quantize.onnx")
    assert inside is not None
    assert inside["input"]["shape"] == [1, 12, 12]
    results = json.loads((folder / "results.json").read_text())
    before, after = (row["accuracy"]["top1"]["value"] for row in results["rows"])
    assert before - after > 0.05  # what shipped is as bad as was reported
    assert "autotune" in (folder / "report.md").read_text()
