"""Times of layers: from ONNX Runtime's profiler, and which of them are named."""

from pathlib import Path

import numpy as np
import pytest

from squeeze.measure import layer_times
from squeeze.runtimes.base import CONVERSIONS, Execution
from squeeze.runtimes.runtime import load as load_runtime

litert, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")

LAYERS = {
    "conv1",
    "stages.0.0.conv1",
    "stages.0.0.conv2",
    "stages.1.0.conv1",
    "stages.1.0.conv2",
    "stages.1.0.shortcut.0",
    "stages.2.0.conv1",
    "stages.2.0.conv2",
    "stages.2.0.shortcut.0",
    "fc",
}


def test_both_files_have_the_times_of_all_layers_under_the_modules_names(
    files: dict[str, Path],
) -> None:
    images = np.zeros((1, 1, 12, 12), np.float32)
    both = onnxruntime.profile([files["onnx"], files["int8.onnx"]], Execution(), images)
    for found in both:
        assert set(found) - {CONVERSIONS} == LAYERS
        assert {len(seconds) for seconds in found.values()} == {25}
        assert all(0 < np.median(found[layer]) < 0.1 for layer in LAYERS)
    assert np.median(both[1][CONVERSIONS]) > 0


def test_a_wider_layer_is_the_one_that_costs(tmp_path: Path) -> None:
    """Two files that differ in the size of one product by a factor of a hundred."""
    from onnx import TensorProto, helper, numpy_helper, save

    def net(name: str, width: int) -> Path:
        rng = np.random.default_rng(0)
        shapes = {"a.weight": (64, 64), "b.weight": (64, width), "c.weight": (width, 64)}
        tensors = [
            numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), key)
            for key, shape in shapes.items()
        ]
        nodes = [
            helper.make_node("Gemm", ["x", "a.weight"], ["y"], name + "1"),
            helper.make_node("Gemm", ["y", "b.weight"], ["z"], name + "2"),
            helper.make_node("Gemm", ["z", "c.weight"], ["out"], name + "3"),
        ]
        ends = [
            [helper.make_tensor_value_info(end, TensorProto.FLOAT, ["n", 64])]
            for end in ("x", "out")
        ]
        graph = helper.make_graph(nodes, name, *ends, tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        save(model, tmp_path / name)
        return tmp_path / name

    images = np.ones((64, 64), np.float32)
    paths = [net("narrow.onnx", 64), net("wide.onnx", 6400)]
    slower = layer_times.slower(*onnxruntime.profile(paths, Execution(), images))
    assert {layer.name for layer in slower[:2]} == {"b", "c"}
    assert all(layer.seconds > 5 * layer.float_seconds for layer in slower[:2])


def test_only_layers_that_are_slower_beyond_noise_are_named() -> None:
    rng = np.random.default_rng(0)
    noise = rng.lognormal(0, 0.1, (3, 25))
    real = {"stem": 369e-6 * noise[0], "same": 100e-6 * noise[1], "quick": 50e-6 * noise[2]}
    fresh = rng.lognormal(0, 0.1, (3, 25))
    quantized = {"stem": 752e-6 * fresh[0], "same": 100e-6 * fresh[1], "quick": 20e-6 * fresh[2]}
    (found,) = layer_times.slower(
        {name: times.tolist() for name, times in real.items()},
        {name: times.tolist() for name, times in quantized.items()} | {CONVERSIONS: [0.0] * 25},
    )
    assert found.name == "stem"
    assert found.seconds == pytest.approx(752e-6, rel=0.1)
    assert found.float_seconds == pytest.approx(369e-6, rel=0.1)


def test_litert_has_no_times_of_layers_to_give() -> None:
    assert litert.profile([], Execution(), np.zeros((1, 3, 8, 8), np.float32)) is None
