"""Constants that only a branch reads are kept when an ONNX file is folded."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from squeeze.quantization.backends.neural_compressor.folding import fold_


def test_what_only_a_branch_reads_is_kept(tmp_path: Path) -> None:
    def branch(name: str, number: str) -> onnx.GraphProto:
        node = helper.make_node("Mul", ["x", number], [f"{name}.o"])
        out = helper.make_tensor_value_info(f"{name}.o", TensorProto.FLOAT, [1, 2])
        return helper.make_graph([node], name, [], [out])

    nodes = [
        helper.make_node("Cast", ["half"], ["two"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["choice"]),
        helper.make_node(
            "If",
            ["choice"],
            ["y"],
            then_branch=branch("yes", "two"),
            else_branch=branch("no", "three"),
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [
            numpy_helper.from_array(np.float16(2), "half"),
            numpy_helper.from_array(np.float32(3), "three"),
            numpy_helper.from_array(np.float32(0), "zero"),
        ],
    )
    path = tmp_path / "net.onnx"
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    assert fold_(path) == 1
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    for values, expected in (([[1.0, 2.0]], [[2.0, 4.0]]), ([[-1.0, -2.0]], [[-3.0, -6.0]])):
        assert session.run(None, {"x": np.array(values, np.float32)})[0].tolist() == expected
