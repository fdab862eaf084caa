"""Quantization: ranges by hand, weights in their bits, int8 files that agree with float ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from squeeze.core import cpu
from squeeze.core.cpu import Cpu
from squeeze.core.errors import InputError, SqueezeError
from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.quantization.backends.onnxruntime import kernels
from squeeze.quantization.backends.onnxruntime import quantize as onnx_backend
from squeeze.quantization.request import Request
from squeeze.recipe.schema import QuantizeStep
from squeeze.runtimes.base import Execution
from squeeze.runtimes.runtime import load as load_runtime

litert, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")

pytestmark = pytest.mark.usefixtures("portable_cpu")

NAMED = {
    "x86_avx2": 7,
    "x86_avx512": 7,
    "x86_vnni": 8,
    "x86_fp16": 8,
    "arm64": 8,
    "arm64_fp16": 8,
}
RUNTIMES: dict[str, Any] = {"onnx": onnxruntime, "tflite": litert}


def request(files: dict[str, Path], kind: str, out: Path, digits: Data, **step: Any) -> Request:
    assert digits.calibration is not None
    return Request(
        files[kind], out, QuantizeStep.model_validate(step), digits.calibration, Silent(), None
    )


@pytest.mark.parametrize(
    ("machine", "bits"),
    [
        (Cpu("old", "x86_64", ("avx2", "avx512f")), 7),
        (Cpu("new", "x86_64", ("avx2", "avx512_vnni")), 8),
        (Cpu("client", "AMD64", ("avx_vnni",)), 8),
        (Cpu("phone", "aarch64", ("asimddp",)), 8),
        *((cpu.named(name), bits) for name, bits in NAMED.items()),
    ],
)
def test_the_processor_decides_the_weight_bits_and_says_so(machine: Cpu, bits: int) -> None:
    found, reason = kernels.weight_bits("auto", machine)
    assert found == bits
    assert reason.startswith(f"{bits}-bit weights: {machine.model}")
    assert ("saturates" in reason) == (bits == 7)
    assert kernels.weight_bits(7, machine) == (7, "7-bit weights: set in the recipe")
    assert onnx_backend.bits(QuantizeStep(), machine) == bits


@pytest.mark.parametrize(("name", "kind"), [("x86_vnni", np.uint8), ("arm64", np.int8)])
def test_the_processor_decides_the_sign_of_activations(
    name: str, kind: type, files: dict[str, Path], digits: Data, tmp_path: Path
) -> None:
    wanted = replace(request(files, "onnx", tmp_path / "int8.onnx", digits), cpu=cpu.named(name))
    notes = onnx_backend.quantize(wanted).notes
    assert any(note.startswith("QInt8" if kind is np.int8 else "QUInt8") for note in notes)
    graph = onnx.load(wanted.destination).graph
    tensors = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    zeros = {tensors[n.input[2]].dtype for n in graph.node if n.op_type == "QuantizeLinear"}
    assert zeros == {np.dtype(kind)}


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_int8_files_agree_with_float_ones(kind: str, files: dict[str, Path], digits: Data) -> None:
    runtime, split = RUNTIMES[kind], digits.validation
    images, labels = split.batch(range(len(split)))
    outputs = {}
    for name in (kind, f"int8.{kind}"):
        session = runtime.open_session(files[name], Execution())
        outputs[name] = session.invoke(session.prepare(images)).argmax(1)
        session.close()
    assert (outputs[kind] == outputs[f"int8.{kind}"]).mean() > 0.97
    assert (outputs[f"int8.{kind}"] == labels).mean() > 0.9
    assert files[f"int8.{kind}"].stat().st_size < 0.55 * files[kind].stat().st_size
    coverage = runtime.coverage(files[f"int8.{kind}"])
    assert coverage.convolutions == (9, 9)
    assert (coverage.int8, coverage.total, coverage.survivors) == (10, 10, ())
    assert runtime.coverage(files[kind]).int8 == 0


def int8_weights(path: Path) -> list[Any]:
    tensors = [numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer]
    return [t for t in tensors if t.dtype == np.int8 and t.ndim > 1]


@pytest.mark.parametrize(("bits", "largest"), [(7, 64), (8, 127)])
def test_weights_use_their_bits_and_no_more(
    bits: int, largest: int, files: dict[str, Path], digits: Data, tmp_path: Path
) -> None:
    out = tmp_path / "int8.onnx"
    assert (
        onnx_backend.quantize(request(files, "onnx", out, digits, weight_bits=bits)).weight_bits
        == bits
    )
    found = int8_weights(out)
    assert len(found) == 10
    assert max(int(np.abs(t.astype(int)).max()) for t in found) == largest


def test_what_is_already_quantized_is_refused(
    files: dict[str, Path], digits: Data, tmp_path: Path
) -> None:
    out = tmp_path / "twice.onnx"
    with pytest.raises(InputError, match="is already quantized"):
        onnx_backend.quantize(request(files, "int8.onnx", out, digits))
    assert list(tmp_path.iterdir()) == []


def test_nan_activations_are_told_and_nothing_is_written(
    files: dict[str, Path], digits: Data, tmp_path: Path
) -> None:
    model = onnx.load(files["onnx"])
    for tensor in model.graph.initializer:
        if tensor.name == "conv1.weight" or len(tensor.dims) == 4:
            array = numpy_helper.to_array(tensor).copy()
            array[:] = np.nan
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
            break
    broken = tmp_path / "nan.onnx"
    onnx.save(model, broken)
    with pytest.raises(SqueezeError, match=r"the activation \S+ is NaN or infinite on"):
        onnx_backend.quantize(request({"nan": broken}, "nan", tmp_path / "out.onnx", digits))
    assert [p.name for p in tmp_path.iterdir()] == ["nan.onnx"]
