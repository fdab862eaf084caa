"""Operators that are rewritten: hand-built graphs, run in ONNX Runtime before and after."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from squeeze.quantization.backends.onnxruntime import rewriting


def save(
    nodes: list[Any],
    constants: dict[str, Any],
    rank: int,
    path: Path,
    *,
    shape: Sequence[int] = (2, 3, 4, 5),
) -> None:
    """Write a graph from ``x`` to ``y``."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape)[:rank])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, path)


def run(path: Path, x: Any) -> Any:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize(
    ("axes", "keepdims", "rank", "pooled"),
    [
        ([-1, -2], 1, 4, ["GlobalAveragePool"]),
        ([2, 3], 0, 4, ["GlobalAveragePool", "Flatten"]),
        ([1, 2], 1, 4, ["ReduceMean"]),
        ([2], 1, 4, ["ReduceMean"]),
        ([-1, -2], 1, 3, ["ReduceMean"]),
    ],
)
def test_only_means_over_height_and_width_become_pooling(
    axes: list[int], keepdims: int, rank: int, pooled: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "graph.onnx"
    node = helper.make_node("ReduceMean", ["x", "axes"], ["y"], "mean", keepdims=keepdims)
    save([node], {"axes": np.array(axes, np.int64)}, rank, path)
    x = np.random.default_rng(0).normal(size=[2, 3, 4, 5][:rank]).astype(np.float32)
    before = run(path, x)
    rewriting.pool_(path)
    assert [each.op_type for each in onnx.load(path).graph.node] == pooled
    np.testing.assert_allclose(run(path, x), before, rtol=1e-6)


@pytest.mark.parametrize(
    ("rank", "settings", "rewritten"),
    [(4, {}, True), (4, {"epsilon": 0.3}, True), (3, {}, False), (4, {"training_mode": 1}, False)],
)
def test_a_batch_norm_of_pictures_becomes_a_convolution(
    rank: int, settings: dict[str, Any], *, rewritten: bool, tmp_path: Path
) -> None:
    path, rng = tmp_path / "graph.onnx", np.random.default_rng(0)
    names = ["gain", "shift", "mean", "variance"]
    values = rng.uniform(0.2, 2.0, (4, 3)).astype(np.float32) * [[-1], [1], [1], [1]]
    outputs = ["y", "new_mean", "new_variance"][: 3 if settings.get("training_mode") else 1]
    node = helper.make_node("BatchNormalization", ["x", *names], outputs, "norm", **settings)
    save([node], dict(zip(names, values.astype(np.float32), strict=True)), rank, path)
    x = rng.normal(size=[2, 3, 4, 5][:rank]).astype(np.float32)
    before = run(path, x)
    assert rewriting.scale_(path) == rewritten
    (found,) = onnx.load(path).graph.node
    assert (found.op_type == "Conv") == rewritten
    np.testing.assert_allclose(run(path, x), before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("settings", [{}, {"alpha": 1 / 6}, {"alpha": 0.25, "beta": 0.75}])
@pytest.mark.parametrize("reach", [1.0, 0.6])
def test_a_hard_sigmoid_between_integers_becomes_a_sum_with_the_same_integers(
    kind: type, settings: dict[str, float], reach: float, tmp_path: Path
) -> None:
    path, lowest = tmp_path / "graph.onnx", np.iinfo(kind).min
    quantized(path, kind, settings, zero=lowest, reach=reach)
    x = np.linspace(-6, 6, 256, dtype=np.float32).reshape(1, 4, 8, 8)
    before = run(path, x)
    assert rewriting.gate_(path) == 1
    graph = onnx.load(path).graph
    assert len({tensor.name for tensor in graph.initializer}) == len(graph.initializer)
    kinds = [node.op_type for node in graph.node]
    assert "HardSigmoid" not in kinds
    assert kinds.count("Add") == 1
    difference = np.abs(run(path, x) - before)
    assert difference.max() <= reach / 255 * 1.001  # a tie may go the other way
    assert (difference > 1e-6).mean() < 0.05
    assert before.min() == 0
    assert before.max() == pytest.approx(reach)


@pytest.mark.parametrize(
    ("zero", "reach", "settings"), [(3, 1.0, {}), (0, 1.1, {}), (0, 1.0, {"beta": 0.0})]
)
def test_a_hard_sigmoid_that_integers_do_not_cut_off_is_left(
    zero: int, reach: float, settings: dict[str, float], tmp_path: Path
) -> None:
    path = tmp_path / "graph.onnx"
    quantized(path, np.uint8, settings, zero=zero, reach=reach)
    assert rewriting.gate_(path) == 0
    assert "HardSigmoid" in {node.op_type for node in onnx.load(path).graph.node}


def quantized(
    path: Path, kind: Any, settings: dict[str, float], *, zero: int, reach: float
) -> None:
    """Write a hard sigmoid between quantize/dequantize pairs."""
    middle = np.iinfo(kind).min + 128
    constants = {
        "x_scale": np.float32(0.0471),  # whose products with slopes are no ties
        "x_zero": np.asarray(middle, kind),
        "z_scale": np.float32(reach / 255),
        "z_zero": np.asarray(zero, kind),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["x_int"]),
        helper.make_node("DequantizeLinear", ["x_int", "x_scale", "x_zero"], ["x_back"]),
        helper.make_node("HardSigmoid", ["x_back"], ["z"], "gate", **settings),
        helper.make_node("QuantizeLinear", ["z", "z_scale", "z_zero"], ["z_int"]),
        helper.make_node("DequantizeLinear", ["z_int", "z_scale", "z_zero"], ["y"]),
    ]
    save(nodes, constants, 4, path, shape=[1, 4, 8, 8])
