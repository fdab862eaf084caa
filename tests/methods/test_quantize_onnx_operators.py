"""What of an ONNX graph is quantized: hand-built graphs, run in ONNX Runtime."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from squeeze.methods.quantize import onnx_operators


def save(nodes: list[Any], constants: dict[str, Any], rank: int, path: Path) -> None:
    """Write a graph from ``x`` ``(2, 3, 4, 5, ...)`` to ``y``."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4, 5][:rank])],
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
    onnx_operators.pool_(path)
    assert [each.op_type for each in onnx.load(path).graph.node] == pooled
    np.testing.assert_allclose(run(path, x), before, rtol=1e-6)


def test_between_layer_norms_only_products_are_quantized(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    product = helper.make_node("MatMul", ["x", "w"], ["z"], "product")
    norm = helper.make_node("LayerNormalization", ["z", "s"], ["y"], "norm")
    constants = {"w": np.ones((3, 3), np.float32), "s": np.ones(3, np.float32)}
    save([product, norm], constants, 2, path)
    choice = onnx_operators.choose(path)
    assert choice.types is not None
    assert {"Conv", "MatMul", "Gemm"} <= set(choice.types)
    assert not {"LayerNormalization", "Add", "Mul", "Softmax"} & set(choice.types)
    assert choice.options == {"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]}
    assert "layer norms" in choice.note


def test_a_network_without_layer_norms_is_quantized_throughout(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    save([helper.make_node("Relu", ["x"], ["y"], "relu")], {}, 2, path)
    assert onnx_operators.choose(path) == onnx_operators.Choice()
