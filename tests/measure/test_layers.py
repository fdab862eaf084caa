"""SQNR and cosine by hand, and on real files against ONNX Runtime's own figure."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from squeeze.core.errors import InputError
from squeeze.data.sets import Data
from squeeze.measure import layers


class Given:
    """Activations that a test wrote down."""

    def __init__(self, **values: list[float]) -> None:
        self.values = {name: np.array(value, np.float32) for name, value in values.items()}
        self.operators = dict.fromkeys(values, "Conv")
        self.inside = 0

    def matching(self, other: Any) -> dict[str, str]:
        return {name: name for name in self.operators if name in other.operators}

    def read(self, images: Any) -> Iterator[tuple[str, Any]]:
        for name, value in self.values.items():
            yield name, value * images.sum()


ONES = [np.ones((1, 1, 1, 1), np.float32)]


def test_figures_are_those_of_the_formula() -> None:
    real = Given(a=[3, 4], same=[1, 2], zero=[0, 0], gone=[1, 1])
    found = layers.compare(real, Given(a=[3, 3], same=[1, 2], zero=[0, 1], new=[1]), ONES * 2)
    assert found.images == 2
    assert found.only_float == ("gone",)
    assert found.only_quantized == ("new",)
    assert [layer.name for layer in found.layers] == ["zero", "a", "same"]
    zero, a, same = found.layers
    assert a.sqnr_db == pytest.approx(10 * math.log10(25 / 1))  # 3²+4² over (4-3)²
    assert a.cosine == pytest.approx(21 / (5 * math.sqrt(18)))
    assert (a.op, a.position) == ("Conv", 0)
    assert (same.sqnr_db, same.cosine) == (math.inf, 1.0)
    assert zero.sqnr_db == -math.inf
    assert math.isnan(zero.cosine)


def test_sums_run_over_all_batches() -> None:
    real, other = Given(a=[3, 4]), Given(a=[3, 3])
    scaled = [ONES[0], 2 * ONES[0]]
    (layer,) = layers.compare(real, other, scaled).layers
    assert layer.sqnr_db == pytest.approx(10 * math.log10((25 + 100) / (1 + 4)))


def test_files_of_different_models_are_told() -> None:
    with pytest.raises(InputError, match="none of 1 activations has a counterpart"):
        layers.compare(Given(a=[1]), Given(b=[1]), ONES)
    with pytest.raises(InputError, match="none of 1 activations has a counterpart of the same na"):
        layers.compare(Given(a=[1]), Given(a=[1, 2]), ONES)


def test_a_name_of_two_different_activations_is_told_and_the_rest_compared() -> None:
    found = layers.compare(Given(a=[1], b=[1, 2]), Given(a=[1, 2, 3], b=[1, 2]), ONES)
    assert [layer.name for layer in found.layers] == ["b"]
    assert found.clashing == {"a": (1, 3)}
    assert (found.only_float, found.only_quantized, found.inside) == ((), (), 0)


def test_one_convolution_by_hand(tmp_path: Path) -> None:
    """A 1x1 convolution by 1 whose output is rounded to halves: 0.3 becomes 0.5, 1 stays."""

    def save(name: str, *more: Any, output: str, **stored: Any) -> Path:
        conv = helper.make_node("Conv", ["x", "w"], ["conv.o"], name="conv")
        stored["w"] = np.ones((1, 1, 1, 1), np.float32)
        graph = helper.make_graph(
            [conv, *more],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 1, 2])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, 1, 1, 2])],
            [numpy_helper.from_array(value, key) for key, value in stored.items()],
        )
        opset = [helper.make_opsetid("", 20)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / name)
        return tmp_path / name

    after = "conv.o_DequantizeLinear_Output"
    pair = [
        helper.make_node("QuantizeLinear", ["conv.o", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], [after]),
        helper.make_node("Relu", [after], ["y"]),
    ]
    relu = helper.make_node("Relu", ["conv.o"], ["y"])
    real = layers.open_activations(save("f.onnx", relu, output="y"))
    quantized = layers.open_activations(
        save("q.onnx", *pair, output="y", s=np.array(0.5, np.float32), z=np.array(0, np.uint8))
    )
    images = np.array([0.3, 1.0], np.float32).reshape(1, 1, 1, 2)
    found = layers.compare(real, quantized, [images])
    assert [layer.name for layer in found.layers] == ["conv.o", "y"]
    for layer in found.layers:
        assert layer.sqnr_db == pytest.approx(10 * math.log10(1.09 / 0.04), abs=1e-4)
        assert layer.cosine == pytest.approx(1.15 / math.sqrt(1.09 * 1.25), abs=1e-6)


def test_onnx_runtimes_own_figure_is_the_same(files: dict[str, Path], digits: Data) -> None:
    from onnxruntime.quantization.qdq_loss_debug import (
        compute_signal_to_quantization_noice_ratio as reference,
    )

    images = [digits.validation.batch([i])[0] for i in range(4)]
    real, quantized = (layers.open_activations(files[kind]) for kind in ("onnx", "int8.onnx"))
    found = layers.compare(real, quantized, images)
    assert len(found.layers) >= 9
    pairs = real.matching(quantized)
    read = [(dict(real.read(batch)), dict(quantized.read(batch))) for batch in images]
    for layer in found.layers:
        expected = reference(
            [r[layer.name] for r, _ in read], [q[pairs[layer.name]] for _, q in read]
        )
        assert layer.sqnr_db == pytest.approx(expected, abs=1e-3)
    assert [layer.sqnr_db for layer in found.layers] == sorted(
        layer.sqnr_db for layer in found.layers
    )


def test_litert_matches_every_activation(files: dict[str, Path], digits: Data) -> None:
    images = [digits.validation.batch([i])[0] for i in range(4)]
    real, quantized = (layers.open_activations(files[kind]) for kind in ("tflite", "int8.tflite"))
    found = layers.compare(real, quantized, images)
    assert found.only_float == ()
    assert all(10 < layer.sqnr_db < 60 for layer in found.layers)
    assert all(0.9 < layer.cosine <= 1 for layer in found.layers)
    last = max(found.layers, key=lambda layer: layer.position)
    from squeeze.runtimes.base import Execution
    from squeeze.runtimes.litert.session import open_session

    outputs = []
    for kind in ("tflite", "int8.tflite"):
        session = open_session(files[kind], Execution())
        outputs.append(session.invoke(session.prepare(np.concatenate(images))).astype(np.float64))
    noise = ((outputs[0] - outputs[1]) ** 2).sum()
    delegated = 10 * math.log10((outputs[0] ** 2).sum() / noise)
    assert last.sqnr_db == pytest.approx(delegated, abs=3)  # XNNPACK rounds in other places
