"""Which operators of an ONNX graph are quantized: hand-built graphs."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from squeeze.quantization.backends.onnxruntime import operators


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


def test_between_layer_norms_only_products_are_quantized(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    product = helper.make_node("MatMul", ["x", "w"], ["z"], "product")
    norm = helper.make_node("LayerNormalization", ["z", "s"], ["y"], "norm")
    constants = {"w": np.ones((3, 3), np.float32), "s": np.ones(3, np.float32)}
    save([product, norm], constants, 2, path)
    choice = operators.choose(path)
    assert choice.types is not None
    assert {"Conv", "MatMul", "Gemm"} <= set(choice.types)
    assert not {"LayerNormalization", "Add", "Mul", "Softmax"} & set(choice.types)
    assert choice.options == {"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]}
    assert "layer norms" in choice.note


def test_a_network_without_layer_norms_is_quantized_throughout(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    save([helper.make_node("Relu", ["x"], ["y"], "relu")], {}, 2, path)
    assert operators.choose(path) == operators.OperatorSelection()
