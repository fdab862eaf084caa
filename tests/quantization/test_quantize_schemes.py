"""Every scheme in every runtime that holds it: what is stored, what runs, how it predicts."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from squeeze.core.errors import InputError, SqueezeError
from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.models.types import Model
from squeeze.quantization.backend import load as load_backend
from squeeze.quantization.backends.onnxruntime import weights
from squeeze.quantization.request import Request
from squeeze.recipe.schema import QuantizeStep
from squeeze.runtimes.base import Execution
from squeeze.runtimes.runtime import load as load_runtime

litert, onnxruntime, pytorch = (
    load_runtime("litert"),
    load_runtime("onnxruntime"),
    load_runtime("pytorch"),
)

RUNTIMES: dict[str, Any] = {"onnx": onnxruntime, "tflite": litert}
LAYERS = 10


def request(source: Path, out: Path, digits: Data, scheme: str, **more: Any) -> Request:
    step = QuantizeStep.model_validate({"scheme": scheme})
    samples = digits.calibration if scheme.startswith("static") else None
    return Request(source, out, step, samples, Silent(), None, **more)


def quantized(kind: str, files: dict[str, Path], folder: Path, digits: Data, scheme: str) -> Path:
    out = folder / f"{scheme}.{kind}"
    backend = load_backend("onnxruntime" if kind == "onnx" else "litert")
    backend.quantize(request(files[kind], out, digits, scheme))
    return out


def classes(runtime: Any, path: Path, images: Any, precision: str = "fp32") -> Any:
    session = runtime.open_session(path, Execution(precision=precision))
    found = session.invoke(session.prepare(images)).argmax(1)
    session.close()
    return found


@pytest.mark.parametrize(
    ("kind", "scheme", "largest_share", "in_int8", "stored"),
    [
        ("onnx", "dynamic_int8", 0.4, LAYERS, "uint8"),
        ("onnx", "weight_only_int8", 0.4, 0, "int8"),
        ("onnx", "fp16", 0.6, 0, "float16"),
        # XNNPACK takes no depthwise convolution of one channel there, which the first layer is
        ("tflite", "dynamic_int8", 0.4, LAYERS - 1, "int8"),
        ("tflite", "weight_only_int8", 0.4, 0, "int8"),
        ("tflite", "static_int8_int16", 0.4, 0, "int8"),
        ("tflite", "fp16", 0.6, 0, "float16"),
    ],
)
def test_a_scheme_stores_and_runs_what_it_says(
    kind: str,
    scheme: str,
    largest_share: float,
    in_int8: int,
    stored: str,
    files: dict[str, Path],
    digits: Data,
    tmp_path: Path,
) -> None:
    runtime = RUNTIMES[kind]
    out = quantized(kind, files, tmp_path, digits, scheme)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    images, labels = digits.validation.batch(range(len(digits.validation)))
    found = classes(runtime, out, images)
    assert (found == classes(runtime, files[kind], images)).mean() > 0.97
    assert (found == labels).mean() > 0.9
    assert out.stat().st_size < largest_share * files[kind].stat().st_size
    audit = runtime.audit(out)
    assert (audit.coverage.int8, audit.coverage.total) == (in_int8, LAYERS)
    floats = audit.weights["float32"].size_bytes if "float32" in audit.weights else 0
    assert audit.weights[stored].size_bytes > 10 * floats


def test_sixteen_bit_activations_are_seen_in_the_file(
    files: dict[str, Path], digits: Data, tmp_path: Path
) -> None:
    out = quantized("tflite", files, tmp_path, digits, "static_int8_int16")
    activations = litert.audit(out).activations
    assert activations.get("int16", 0) > LAYERS
    assert "int8" not in activations


def a_convolution(weight: Any, path: Path) -> Any:
    """Write a file of one convolution; return its weight's tensor."""
    tensor = numpy_helper.from_array(weight.astype(np.float32), "weight")
    channels, inputs = weight.shape[:2]
    value = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", count, 6, 6])
        for name, count in (("images", inputs), ("logits", channels))
    ]
    node = helper.make_node("Conv", ["images", "weight"], ["logits"], name="conv", pads=[1] * 4)
    graph = helper.make_graph([node], "one", value[:1], value[1:], [tensor])
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return tensor


@pytest.mark.parametrize("scheme", ["dynamic_int8", "weight_only_int8"])
def test_channels_of_unequal_size_each_have_their_scale(
    scheme: str, digits: Data, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((3, 2, 3, 3)) * np.array([1e-3, 1.0, 50.0])[:, None, None, None]
    a_convolution(weight, tmp_path / "float.onnx")
    backend = load_backend("onnxruntime")
    backend.quantize(request(tmp_path / "float.onnx", tmp_path / "int8.onnx", digits, scheme))
    images = rng.standard_normal((4, 2, 6, 6), dtype=np.float32)
    outputs = []
    for name in ("float.onnx", "int8.onnx"):
        session = onnxruntime.open_session(tmp_path / name, Execution())
        outputs.append(session.invoke(session.prepare(images)))
    error = np.abs(outputs[1] - outputs[0]).max((0, 2, 3))
    assert (error / np.abs(outputs[0]).max((0, 2, 3)) < 0.04).all()


def test_rounding_is_that_of_a_hand_computed_grid() -> None:
    weight = np.array([[1.0, -0.5, 0.26], [0.0, 0.0, 0.0]], np.float32)
    integers, scales = weights._rounded(weight, 0, 4)
    assert integers.tolist() == [[4, -2, 1], [0, 0, 0]]
    assert scales.tolist() == [0.25, 1.0]


def test_weights_that_half_precision_cannot_hold_are_named(digits: Data, tmp_path: Path) -> None:
    a_convolution(np.full((1, 1, 3, 3), 1e5), tmp_path / "float.onnx")
    backend = load_backend("onnxruntime")
    with pytest.raises(SqueezeError, match="the weight weight reaches 1e\\+05, but fp16"):
        backend.quantize(request(tmp_path / "float.onnx", tmp_path / "fp16.onnx", digits, "fp16"))
    assert [path.name for path in tmp_path.iterdir()] == ["float.onnx"]


@pytest.mark.parametrize("scheme", ["fp16", "bf16"])
def test_a_half_bundle_is_half_as_large_and_runs(
    scheme: str, trained: Model, files: dict[str, Path], digits: Data, tmp_path: Path
) -> None:
    out = tmp_path / "half"
    backend = load_backend("pytorch")
    backend.quantize(request(files["bundle"], out, digits, scheme, model=trained))
    sizes = [(path / "weights.safetensors").stat().st_size for path in (out, files["bundle"])]
    assert sizes[0] < 0.6 * sizes[1]
    assert next(trained.module.parameters()).element_size() == 4
    images, labels = digits.validation.batch(range(100))
    found = classes(pytorch, out, images, precision=scheme)
    assert (found == classes(pytorch, files["bundle"], images)).mean() > 0.95
    assert (found == labels).mean() > 0.9


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
@pytest.mark.parametrize("first", ["static_int8", "dynamic_int8", "weight_only_int8", "fp16"])
def test_a_file_that_is_quantized_already_is_refused_and_nothing_written(
    kind: str, first: str, files: dict[str, Path], digits: Data, tmp_path: Path
) -> None:
    once = quantized(kind, files, tmp_path, digits, first)
    backend = load_backend("onnxruntime" if kind == "onnx" else "litert")
    for scheme in ("static_int8", "dynamic_int8", "weight_only_int8", "fp16"):
        with pytest.raises(InputError, match=r"is already (quantized|half precision)"):
            backend.quantize(request(once, tmp_path / f"twice.{kind}", digits, scheme))
    assert [path.name for path in tmp_path.iterdir()] == [once.name]


def test_a_file_of_integer_operators_is_refused(
    files: dict[str, Path], digits: Data, tmp_path: Path
) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class OneImage(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = [{"images": digits.validation.batch([0])[0]}]

        def get_next(self) -> Any:
            return self.left.pop() if self.left else None

    made = tmp_path / "qoperator.onnx"
    quantize_static(files["onnx"], made, OneImage(), quant_format=QuantFormat.QOperator)
    assert any(node.op_type == "QLinearConv" for node in onnx.load(made).graph.node)
    with pytest.raises(InputError, match="is already quantized"):
        weights.refuse_quantized(made)
