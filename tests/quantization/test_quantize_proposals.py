"""What places a two-stage detector's proposals stays float; layers before and after do not."""

from pathlib import Path

import pytest
from onnx import TensorProto, helper, save

from squeeze.core.errors import SqueezeError
from squeeze.quantization.backends.onnxruntime import weights
from squeeze.quantization.backends.onnxruntime.proposals import placing
from squeeze.quantization.keep_float.matching import FileOperator


def operator(kind: str, inputs: str, output: str) -> FileOperator:
    return FileOperator(kind.lower() + output, tuple(inputs.split()), (output,), kind)


def test_from_layers_to_where_features_are_cut_out() -> None:
    graph = [
        operator("Conv", "images", "a"),
        operator("Conv", "a", "b"),
        operator("Transpose", "b", "c"),
        operator("Mul", "c", "d"),
        operator("NonMaxSuppression", "d", "e"),
        operator("Gather", "d e", "f"),
        operator("Relu", "a", "g"),
        operator("RoiAlign", "g f", "h"),
        operator("Gemm", "h", "i"),
        operator("Concat", "f", "j"),
    ]
    found = placing(graph)
    assert set(found) == {"transposec", "muld", "nonmaxsuppressione", "gatherf"}
    assert placing(graph[:4]) == {}


def test_half_precision_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("RoiAlign", ["x", "rois", "image"], ["y"])
    kinds = {"x": (TensorProto.FLOAT, [1, 2, 8, 8]), "rois": (TensorProto.FLOAT, [1, 4])}
    kinds |= {"image": (TensorProto.INT64, [1])}
    inputs = [helper.make_tensor_value_info(name, *kind) for name, kind in kinds.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 1, 1])
    save(helper.make_model(helper.make_graph([node], "g", inputs, [output])), tmp_path / "a.onnx")
    with pytest.raises(SqueezeError, match="fp16 rounds to halves beyond 512"):
        weights.half(tmp_path / "a.onnx", tmp_path / "b.onnx")
