"""Files with inputs that squeeze does not write: other layouts, types, and batch sizes."""

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper

from squeeze.runtimes.base import Execution, FileInput
from squeeze.runtimes.runtime import load as load_runtime

litert, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")


def images(count: int, *, pixels: bool = False) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    if pixels:
        return rng.integers(0, 256, (count, 3, 4, 5)).astype(np.float32)
    return rng.uniform(-1, 1, (count, 3, 4, 5)).astype(np.float32)


def run(runtime: Any, path: Path, given: Any, layout: str | None = None) -> Any:
    session = runtime.open_session(path, Execution(layout=layout))
    found = session.invoke(session.prepare(given))
    session.close()
    return found


def onnx_file(path: Path, shape: list[Any], kind: int = TensorProto.FLOAT) -> Path:
    """A file that returns its input."""
    cast = helper.make_node("Cast", ["images"], ["same"], to=TensorProto.FLOAT)
    ends = [("images", kind, shape), ("same", TensorProto.FLOAT, None)]
    first, last = (helper.make_tensor_value_info(*end) for end in ends)
    graph = helper.make_graph([cast], "g", [first], [last])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def litert_file(path: Path, shape: list[int], scale: float, zero_point: int) -> Path:
    """A file of uint8 input that returns its floats; a scale of 0 means no quantization."""
    quantization = schema.QuantizationParametersT()
    if scale:
        quantization.scale, quantization.zeroPoint = [scale], [zero_point]
    tensors = [
        schema.TensorT(
            shape=shape,
            type=kind,
            buffer=0,
            name=name,
            quantization=quantization if name == b"images" else None,
        )
        for name, kind in (
            (b"images", schema.TensorType.UINT8),
            (b"same", schema.TensorType.FLOAT32),
        )
    ]
    code = schema.BuiltinOperator.DEQUANTIZE if scale else schema.BuiltinOperator.CAST
    operator = schema.OperatorT(opcodeIndex=0, inputs=[0], outputs=[1])
    graph = schema.SubGraphT(tensors=tensors, inputs=[0], outputs=[1], operators=[operator])
    model = schema.ModelT(
        version=3,
        operatorCodes=[
            schema.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=1)
        ],
        subgraphs=[graph],
        buffers=[schema.BufferT()],
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def test_channels_are_where_the_shape_says(tmp_path: Path) -> None:
    given = images(2)
    first = onnx_file(tmp_path / "a.onnx", ["N", 3, 4, 5])
    last = onnx_file(tmp_path / "b.onnx", ["N", 4, 5, 3])
    unsaid = onnx_file(tmp_path / "c.onnx", ["N", "a", "b", "c"])
    channel_last = given.transpose(0, 2, 3, 1)
    assert (run(onnxruntime, first, given) == given).all()
    assert (run(onnxruntime, last, given) == channel_last).all()
    assert (run(onnxruntime, unsaid, given) == given).all()
    assert (run(onnxruntime, unsaid, given, "NHWC") == channel_last).all()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_litert_files_may_have_channels_first(layout: str, tmp_path: Path) -> None:
    given = images(3, pixels=True)
    if layout == "NHWC":
        path = litert_file(tmp_path / "x.tflite", [1, 4, 5, 3], 0.0, 0)
        assert (run(litert, path, given) == given.transpose(0, 2, 3, 1)).all()
    else:
        path = litert_file(tmp_path / "x.tflite", [1, 3, 4, 5], 0.0, 0)
        assert (run(litert, path, given) == given).all()


def test_integers_stand_for_floats_or_for_themselves(tmp_path: Path) -> None:
    real = images(2)
    path = litert_file(tmp_path / "q.tflite", [1, 3, 4, 5], 1 / 128, 128)
    assert np.abs(run(litert, path, real) - real).max() <= 1 / 128
    assert litert.file_input(path) == FileInput((1, 3, 4, 5), "uint8", 1 / 128, 128)
    mean, std = litert.file_input(path).of_pixels() or (0.0, 0.0)
    pixels = images(2, pixels=True)
    assert np.allclose(run(litert, path, (pixels / 255 - mean) / std), (pixels - 128) / 128)
    plain = onnx_file(tmp_path / "u.onnx", ["N", 3, 4, 5], TensorProto.UINT8)
    assert (run(onnxruntime, plain, pixels + 0.4) == pixels).all()
    assert (run(onnxruntime, plain, pixels * 0 - 3) == 0).all()


def test_half_precision_inputs_are_fed_and_outputs_are_float32(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "h.onnx", ["N", 3, 4, 5], TensorProto.FLOAT16)
    found = run(onnxruntime, path, images(2))
    assert found.dtype == np.float32
    assert np.abs(found - images(2)).max() < 1e-3


def test_an_onnx_file_of_a_fixed_batch_pads_the_last_one(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "b.onnx", [4, 3, 4, 5])
    assert onnxruntime.file_input(path).batch == 4
    for count in (1, 4, 7):
        assert (run(onnxruntime, path, images(count)) == images(count)).all()
