"""Branches and loop bodies: what runs in them is counted as what runs outside."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from squeeze.core.errors import InputError
from squeeze.quantization.backends.onnxruntime import weights
from squeeze.runtimes.onnxruntime.activations import OnnxActivations
from squeeze.runtimes.runtime import load as load_runtime

onnxruntime = load_runtime("onnxruntime")

Make = Callable[..., Path]
LAYERS = {"stem", "dw", "pw", "last", "fc"}


def inside(op: str, body: onnx.GraphProto) -> onnx.GraphProto:
    """Return a graph that runs the network's body in a branch or a loop, as ``op`` says."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    made = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    stored = [numpy_helper.from_array(np.int64(2), "count")]
    inputs = [given]
    if op == "If":
        inputs.append(helper.make_tensor_value_info("choice", TensorProto.BOOL, []))
        names = [*inner_names(body)]
        other = onnx.GraphProto()
        other.CopyFrom(body)
        rename_(other, {name: f"other_{name}" for name in names})
        node = helper.make_node("If", ["choice"], ["out"], then_branch=body, else_branch=other)
    elif op == "Loop":
        inputs.append(helper.make_tensor_value_info("go", TensorProto.BOOL, []))
        body.input.extend(
            [
                helper.make_tensor_value_info("turn", TensorProto.INT64, []),
                helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            ]
        )
        body.node.append(helper.make_node("Identity", ["on"], ["still"]))
        body.output.insert(0, helper.make_tensor_value_info("still", TensorProto.BOOL, []))
        node = helper.make_node("Loop", ["count", "go"], ["out"], body=body)
    else:
        body.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3, 8, 8]))
        rename_(body, {"x": "z"})
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["t", "n", 3, 8, 8])]
        node = helper.make_node("Scan", ["x"], ["out"], body=body, num_scan_inputs=1)
    return helper.make_graph([node], "outer", inputs, [made], stored)


def inner_names(body: onnx.GraphProto) -> set[str]:
    return {name for node in body.node for name in node.output} | {
        each.name for each in body.initializer
    }


def rename_(body: onnx.GraphProto, names: dict[str, str]) -> None:
    for part in body.node:
        for side in (part.input, part.output):
            for place, name in enumerate(side):
                side[place] = names.get(name, name)
    for held in (*body.initializer, *body.output):
        held.name = names.get(held.name, held.name)
    del body.value_info[:]


@pytest.mark.parametrize(("op", "bodies"), [("If", 2), ("Loop", 1), ("Scan", 1)])
@pytest.mark.parametrize("is_int8", [False, True])
def test_branches_and_loop_bodies_are_looked_into(
    op: str,
    bodies: int,
    static: Make,
    network: onnx.ModelProto,
    tmp_path: Path,
    *,
    is_int8: bool,
) -> None:
    model = onnx.load(static()) if is_int8 else network
    body = onnx.GraphProto()
    body.CopyFrom(model.graph)
    del body.input[:]
    outer = inside(op, body)
    path = tmp_path / "outer.onnx"
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(outer, opset_imports=opsets, ir_version=9), path)
    if is_int8:
        with pytest.raises(InputError, match="is already quantized"):
            weights.refuse_quantized(path)
    found = onnxruntime.audit(path)
    assert found.coverage.total == 5 * bodies
    assert found.coverage.convolutions == (4 * bodies if is_int8 else 0, 4 * bodies)
    assert found.coverage.int8 == (5 * bodies if is_int8 else 0)
    if not is_int8:
        assert {each.name for each in found.coverage.survivors} == LAYERS
    assert OnnxActivations(path).inside == sum(len(each.node) for each in bodies_of(path))
    onnx.save(model, path)
    stored = onnxruntime.audit(path).weights
    assert all(
        found.weights[kind].size_bytes == bodies * held.size_bytes for kind, held in stored.items()
    )


def bodies_of(path: Path) -> list[onnx.GraphProto]:
    (outer,) = onnx.load(path).graph.node
    return [each.g for each in outer.attribute if each.HasField("g")]
