"""A small float ONNX network and what ``quantize_static`` makes of it."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static


def built() -> onnx.ModelProto:
    """Four convolutions with a residual, a hard-swish and a matrix product."""
    rng = np.random.default_rng(0)
    weights: dict[str, Any] = {}

    def conv(name: str, source: str, *shape: int, group: int = 1) -> Any:
        weights[f"{name}.w"], weights[f"{name}.b"] = (
            (rng.standard_normal(size) * 0.2).astype(np.float32) for size in (shape, shape[:1])
        )
        inputs = [source, f"{name}.w", f"{name}.b"]
        pads = [shape[-1] // 2] * 4
        return helper.make_node("Conv", inputs, [f"{name}.o"], name=name, group=group, pads=pads)

    weights["fc.w"] = rng.standard_normal((16, 10)).astype(np.float32)
    nodes = [
        conv("stem", "x", 16, 3, 3, 3),
        helper.make_node("Relu", ["stem.o"], ["relu.o"], name="relu"),
        conv("dw", "relu.o", 16, 1, 3, 3, group=16),
        conv("pw", "dw.o", 16, 16, 1, 1),
        helper.make_node("Add", ["relu.o", "pw.o"], ["add.o"], name="add"),
        conv("last", "add.o", 16, 16, 3, 3),
        helper.make_node("HardSwish", ["last.o"], ["swish.o"], name="swish"),
        helper.make_node("GlobalAveragePool", ["swish.o"], ["mean.o"], name="mean"),
        helper.make_node("Flatten", ["mean.o"], ["flat.o"], name="flat"),
        helper.make_node("MatMul", ["flat.o", "fc.w"], ["y"], name="fc"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=opset, ir_version=9)
    )


class Images:
    """Three random batches."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self.left = [rng.standard_normal((2, 3, 8, 8)).astype(np.float32) for _ in range(3)]

    def get_next(self) -> dict[str, Any] | None:
        return {"x": self.left.pop()} if self.left else None


@pytest.fixture
def static(tmp_path: Path) -> Callable[..., Path]:
    """Quantize the network with ``quantize_static``, then edit the graph."""

    def make(edit: Callable[[Any], None] | None = None, **settings: Any) -> Path:
        logging.getLogger().setLevel(logging.ERROR)
        onnx.save(built(), tmp_path / "float.onnx")
        wanted = {
            "quant_format": QuantFormat.QDQ,
            "activation_type": QuantType.QUInt8,
            "weight_type": QuantType.QInt8,
            "per_channel": True,
        } | settings
        path = tmp_path / "int8.onnx"
        quantize_static(str(tmp_path / "float.onnx"), str(path), Images(), **wanted)
        if edit is not None:
            model = onnx.load(path)
            edit(model.graph)
            onnx.save(model, path)
        return path

    return make


@pytest.fixture
def network() -> onnx.ModelProto:
    """Return the float network."""
    return built()
