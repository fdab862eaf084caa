"""Integer kernels that are slower than float ones, told by the types that they are given."""

import logging
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic

from squeeze.core import cpu
from squeeze.runtimes.onnxruntime import slow_kernels
from squeeze.runtimes.onnxruntime.reasons import Graph
from squeeze.runtimes.runtime import load as load_runtime

onnxruntime = load_runtime("onnxruntime")

Make = Callable[..., Path]
no_signed_kernels = pytest.mark.skipif(
    not cpu.host().is_x86 or "avx_vnni_int8" in cpu.host().features,
    reason="this processor multiplies signed integers fast",
)


@no_signed_kernels
def test_signed_activations_of_the_operator_format_are_slow(static: Make) -> None:
    """On x86 without AVX-VNNI-INT8 its products of signed integers are portable code."""
    signed = {"activation_type": QuantType.QInt8, "quant_format": QuantFormat.QOperator}
    found = onnxruntime.audit(static(**signed))
    slow = {each.name: each.op for each in found.coverage.slow}
    assert set(slow.values()) == {"QLinearConv", "QLinearMatMul"}
    assert len(slow) == 4  # all but the depthwise one, which has a kernel of its own
    assert (found.coverage.int8, found.coverage.total) == (1, 5)
    assert found.coverage.convolutions == (1, 4)
    assert found.coverage.survivors == ()
    reason = found.coverage.slow[0].reason
    assert "portable kernel for QLinearConv of int8 activations by int8 weights" in reason
    assert found.advice[0].startswith("Integer but slow: 4 of 5 convolutions and matrix products")


@no_signed_kernels
def test_signed_weights_of_integer_convolutions_are_slow(
    network: onnx.ModelProto, tmp_path: Path
) -> None:
    """What ``quantize_dynamic`` makes by default; its matrix products are fast."""
    logging.getLogger().setLevel(logging.ERROR)
    onnx.save(network, tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "int8.onnx")
    found = onnxruntime.audit(tmp_path / "int8.onnx")
    assert [each.op for each in found.coverage.slow] == ["ConvInteger"] * 4
    assert (found.coverage.int8, found.coverage.total) == (1, 5)
    assert "quantize weights to uint8" in found.coverage.slow[0].reason
    assert "Nothing stands out" not in " ".join(found.advice)


def test_slow_kernels_depend_on_the_processor(static: Make) -> None:
    model = onnx.load(static(activation_type=QuantType.QInt8, quant_format=QuantFormat.QOperator))
    runs = Graph(model.graph)
    stem = next(each for each in runs.nodes if each.name == "stem_quant")
    avx = cpu.Cpu("new", "x86_64", ("avx2", "avx_vnni_int8"))
    assert slow_kernels.reason(stem, runs, {}, cpu.NAMED["x86_vnni"])
    for processor in (avx, cpu.NAMED["arm64"]):
        assert not slow_kernels.reason(stem, runs, {}, processor)
