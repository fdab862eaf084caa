"""Files of every kind, made by the real quantizers: what runs in int8, what does not, and why."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

from squeeze.core import cpu
from squeeze.core.errors import InputError
from squeeze.core.output import redirect_output
from squeeze.runtimes.base import Audit
from squeeze.runtimes.runtime import load as load_runtime

onnxruntime = load_runtime("onnxruntime")

Make = Callable[..., Path]
LAYERS = ["stem", "dw", "pw", "last", "fc"]
x86_only = pytest.mark.skipif(not cpu.host().is_x86, reason="signed int8 is fine elsewhere")


def node(graph: Any, name: str) -> Any:
    return next(each for each in graph.node if each.name == name)


def survivors(found: Audit) -> dict[str, str]:
    return {each.name: each.reason for each in found.coverage.survivors}


def clip_before_pw(graph: Any) -> None:
    pw = node(graph, "pw")
    clip = helper.make_node("Clip", [pw.input[0], "low", "high"], ["clip.o"], name="clip")
    graph.initializer.extend(
        numpy_helper.from_array(np.float32(value), name)
        for name, value in (("low", 0), ("high", 1))
    )
    graph.node.insert(list(graph.node).index(pw), clip)
    pw.input[0] = "clip.o"


def pw_is_an_output(graph: Any) -> None:
    graph.output.append(helper.make_tensor_value_info("pw.o", TensorProto.FLOAT, None))


def no_quantize_after_last(graph: Any) -> None:
    node(graph, "swish").input[0] = "last.o"


def float_weights_of_pw(graph: Any) -> None:
    graph.initializer.append(
        numpy_helper.from_array(np.ones((16, 16, 1, 1), np.float32), "pw.float")
    )
    node(graph, "pw").input[1] = "pw.float"


def weights_quantized_at_load(graph: Any) -> None:
    stored = {each.name: each for each in graph.initializer}
    for name in ("stem", "dw", "pw", "last"):
        dequantize = next(n for n in graph.node if n.output[0] == node(graph, name).input[1])
        held, scale = (numpy_helper.to_array(stored[each]) for each in dequantize.input[:2])
        values = held * scale.reshape(-1, 1, 1, 1)
        graph.initializer.remove(stored[dequantize.input[0]])
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), f"{name}.f"))
        inputs = [f"{name}.f", *dequantize.input[1:]]
        graph.node.insert(0, helper.make_node("QuantizeLinear", inputs, [f"{name}.q"], axis=0))
        dequantize.input[0] = f"{name}.q"


def float_bias_of_pw(graph: Any) -> None:
    graph.initializer.append(numpy_helper.from_array(np.ones(16, np.float32), "pw.float_bias"))
    node(graph, "pw").input[2] = "pw.float_bias"


@pytest.mark.parametrize(
    ("edit", "layer", "reason"),
    [
        (clip_before_pw, "pw", "its input comes from a Clip between dequantize and this layer"),
        (pw_is_an_output, "pw", "no quantize after its output, which is an output of the model"),
        (no_quantize_after_last, "last", "no quantize between its output and the "),
        (float_weights_of_pw, "pw", "its weights are float"),
    ],
)
def test_a_broken_pattern_is_explained(
    edit: Callable[[Any], None], layer: str, reason: str, static: Make
) -> None:
    found = onnxruntime.audit(static(edit))
    assert (found.coverage.int8, found.coverage.total) == (4, 5)
    assert found.coverage.convolutions == (3, 4)
    assert list(survivors(found)) == [layer]
    assert survivors(found)[layer].startswith(reason)
    assert "1 of 5 convolutions and matrix products" in found.advice[0]


@pytest.mark.parametrize("edit", [None, float_bias_of_pw, weights_quantized_at_load])
def test_what_onnx_runtime_folds_is_int8(edit: Callable[[Any], None] | None, static: Make) -> None:
    found = onnxruntime.audit(static(edit))
    assert (found.coverage.int8, found.coverage.total) == (5, 5)
    assert found.coverage.survivors == ()
    assert [each.op for each in found.islands] == ["HardSigmoid", "Mul"]
    big = [each for each in found.advice if "bytes of weights are stored in float" in each]
    assert bool(big) == (edit is weights_quantized_at_load)


def test_weights_and_activations_are_counted_by_type(static: Make) -> None:
    path = static()
    found = onnxruntime.audit(path)
    products = 16 * 3 * 9 + 16 * 9 + 16 * 16 + 16 * 16 * 9 + 160
    zeros = 4 * 16 + 10  # one per output channel
    assert found.weights["int8"].size_bytes == products + zeros
    assert found.weights["int32"].size_bytes == 2 * 4 * 4 * 16  # biases and their zero points
    assert found.size_bytes == path.stat().st_size
    assert found.activations["uint8"] >= 8
    assert set(found.activations) == {"uint8", "float32"}


@x86_only
def test_signed_activations_stay_float_around_branches(static: Make) -> None:
    found = onnxruntime.audit(static(activation_type=QuantType.QInt8))
    assert list(survivors(found)) == ["stem", "dw"]
    assert "its output is signed int8 and read by several layers" in survivors(found)["stem"]
    assert "its input is signed int8 and read by several layers" in survivors(found)["dw"]


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"activation_type": QuantType.QUInt16}, "activations are uint16"),
        ({"weight_type": QuantType.QInt4}, "weights are int4"),
    ],
)
def test_types_without_a_kernel(settings: dict[str, Any], kind: str, static: Make) -> None:
    found = onnxruntime.audit(static(**settings))
    assert found.coverage.int8 == 0
    assert list(survivors(found)) == LAYERS
    assert all(f"its {kind}" in reason for reason in survivors(found).values())


def small(path: Path, *nodes: Any, **stored: Any) -> Path:
    """Save nodes from x (1, 4, 8, 8) to y, quantized with unsigned activations."""

    class Images:
        def __init__(self) -> None:
            rng = np.random.default_rng(1)
            self.left = [rng.standard_normal((1, 4, 8, 8)).astype(np.float32) for _ in range(3)]

        def get_next(self) -> dict[str, Any] | None:
            return {"x": self.left.pop()} if self.left else None

    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(model), path.with_name("float.onnx"))
    logging.getLogger().setLevel(logging.ERROR)
    quantize_static(
        path.with_name("float.onnx"),
        path,
        Images(),
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return path


def test_a_transposed_convolution_has_no_int8_kernel(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((4, 4, 2, 2)).astype(np.float32)
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], name="up", strides=[2, 2])
    found = onnxruntime.audit(small(tmp_path / "q.onnx", node, w=weights))
    assert found.coverage.convolutions == (0, 1)
    assert survivors(found) == {"up": "ONNX Runtime has no int8 kernel for ConvTranspose"}


def test_products_of_two_activations_run_in_int8(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["xt"], perm=[0, 1, 3, 2], name="turn"),
        helper.make_node("MatMul", ["x", "xt"], ["m"], name="scores"),
        helper.make_node("Softmax", ["m"], ["s"], name="softmax"),
        helper.make_node("MatMul", ["s", "x"], ["y"], name="mix"),
    ]
    found = onnxruntime.audit(small(tmp_path / "q.onnx", *nodes))
    assert (found.coverage.int8, found.coverage.total) == (2, 2)
    assert found.advice == (
        "Nothing stands out: all convolutions and matrix products run in int8 kernels.",
    )


def test_the_operator_format_and_excluded_layers(static: Make) -> None:
    found = onnxruntime.audit(static(quant_format=QuantFormat.QOperator))
    assert (found.coverage.int8, found.coverage.total) == (5, 5)
    found = onnxruntime.audit(static(op_types_to_quantize=["Conv"]))
    assert survivors(found) == {
        "fc": "the quantizer left it in float: neither its input nor its weights are quantized"
    }


def test_dynamic_quantization_runs_integers_between_float(
    network: onnx.ModelProto, tmp_path: Path
) -> None:
    logging.getLogger().setLevel(logging.ERROR)
    onnx.save(network, tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "int8.onnx", weight_type=QuantType.QUInt8)
    found = onnxruntime.audit(tmp_path / "int8.onnx")
    assert (found.coverage.int8, found.coverage.total) == (4, 5)
    assert [each.name for each in found.coverage.slow] == ["dw_quant"]
    assert "no depthwise kernel" in found.coverage.slow[0].reason
    assert found.activations["int32"] == 4
    assert found.advice[1].startswith("Activations are quantized while running in 5 of 5")


def test_what_is_quantized_while_running_is_counted(
    network: onnx.ModelProto, tmp_path: Path
) -> None:
    onnx.save(network, tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "fc.onnx", op_types_to_quantize=["MatMul"])
    found = onnxruntime.audit(tmp_path / "fc.onnx")
    assert (found.coverage.int8, found.coverage.total) == (1, 5)
    assert any(
        text.startswith("Activations are quantized while running in 1 of 5")
        for text in found.advice
    )


def test_recurrent_layers_are_matrix_products(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((1, 32, 3)).astype(np.float32),
        "r": rng.standard_normal((1, 32, 8)).astype(np.float32),
    }
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "w", "r"], ["y"], name="lstm", hidden_size=8)],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, tmp_path / "float.onnx")
    found = onnxruntime.audit(tmp_path / "float.onnx")
    assert (found.coverage.int8, found.coverage.total) == (0, 1)
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "int8.onnx")
    found = onnxruntime.audit(tmp_path / "int8.onnx")
    assert (found.coverage.int8, found.coverage.total) == (1, 1)
    assert found.operators == {"DynamicQuantizeLSTM": 1}


def test_pooling_between_integers_is_no_island(tmp_path: Path) -> None:
    """A quantize before it and a dequantize behind it: it runs in integers."""
    chain = ["x", "Q", "D", "P", "Q", "D"]
    kinds = {"Q": "QuantizeLinear", "D": "DequantizeLinear", "P": "MaxPool"}
    nodes, last = [], "x"
    for place, step in enumerate(chain[1:]):
        name = "y" if place == len(chain) - 2 else f"t{place}"
        inputs = [last] if step == "P" else [last, "scale", "zero"]
        shape = {"kernel_shape": [2, 2]} if step == "P" else {}
        nodes.append(helper.make_node(kinds[step], inputs, [name], name=f"n{place}", **shape))
        last = name
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.float32(0.1), "scale"),
            numpy_helper.from_array(np.uint8(0), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, tmp_path / "pool.onnx")
    found = onnxruntime.audit(tmp_path / "pool.onnx")
    assert found.activations == {"float32": 1, "uint8": 2}
    assert found.islands == []


def test_float_and_half_files_say_so(network: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(network, tmp_path / "float.onnx")
    found = onnxruntime.audit(tmp_path / "float.onnx")
    assert sorted(survivors(found)) == sorted(LAYERS)
    assert set(survivors(found).values()) == {"the file does not quantize it"}
    assert found.advice[0].startswith(
        "Not quantized: everything runs in float. squeeze quantize makes an int8 file from the "
        "torch model or bundle that this one was exported from; it takes no exported files."
    )
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(network, keep_io_types=True), tmp_path / "half.onnx")
    found = onnxruntime.audit(tmp_path / "half.onnx")
    assert sorted(survivors(found)) == sorted(LAYERS)
    assert set(found.weights) == {"float16"}
    assert "stores float16" in found.advice[0]


def test_weight_only_matrix_products_are_float(network: onnx.ModelProto, tmp_path: Path) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    worker = MatMulNBitsQuantizer(network, block_size=16, is_symmetric=True, bits=4)
    worker.process()
    worker.model.save_model_to_file(str(tmp_path / "w4.onnx"))
    reasons = [each.reason for each in onnxruntime.audit(tmp_path / "w4.onnx").coverage.survivors]
    assert "only its weights are quantized (4 bits): products are computed in float" in reasons


@pytest.mark.slow
def test_an_export_of_torchaos_x86_quantizer_is_explained(tmp_path: Path) -> None:
    """It quantizes inputs only: what is read in float ends outside of an int8 kernel."""
    import torch
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 1)]
    net = torch.nn.Sequential(*layers, torch.nn.Hardswish(), torch.nn.Conv2d(8, 8, 1)).eval()
    images = (torch.randn(2, 3, 16, 16),)
    with redirect_output(None):
        worker = x86.X86InductorQuantizer()
        worker.set_global(x86.get_default_x86_inductor_quantization_config())
        prepared = prepare_pt2e(torch.export.export(net, images, strict=True).module(), worker)
        prepared(*images)
        converted = convert_pt2e(prepared, fold_quantize=False)
        path = tmp_path / "pt2e.onnx"
        torch.onnx.export(converted, images, path, dynamo=True, external_data=False)
    found = onnxruntime.audit(path)
    assert found.coverage.convolutions == (1, 3)
    reasons = list(survivors(found).values())
    assert reasons[0].startswith("no quantize between its output and the HardSigmoid")
    assert reasons[1] == "no quantize after its output, which is an output of the model"
    assert any("bytes of weights are stored in float" in text for text in found.advice)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no model" * 50)
    with pytest.raises(InputError, match="ONNX Runtime cannot load it"):
        onnxruntime.audit(tmp_path / "x.onnx")
