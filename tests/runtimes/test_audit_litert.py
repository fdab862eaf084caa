"""TFLite files of every recipe of ai-edge-quantizer: kernels, delegate, types, reasons."""

from pathlib import Path

import numpy as np
import pytest

from squeeze.core.errors import InputError
from squeeze.runtimes import litert
from squeeze.sources.data import Data


def quantized(source: Path, scheme: str, digits: Data, path: Path) -> Path:
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    from squeeze.core.chatter import chatter_to

    with chatter_to(None):
        worker = quantizer.Quantizer(str(source))
        worker.load_quantization_recipe(getattr(recipe, scheme)())
        ranges = None
        if scheme.startswith("static"):
            signature, names = next(iter(Interpreter(str(source)).get_signature_list().items()))
            images = digits.validation.batch(range(4))[0].transpose(0, 2, 3, 1)
            feeds = [{names["inputs"][0]: np.ascontiguousarray(image[None])} for image in images]
            ranges = worker.calibrate({signature: feeds})
        worker.quantize(ranges).export_model(str(path))
    return path


@pytest.mark.parametrize(
    ("scheme", "int8", "reason", "advice"),
    [
        ("static_wi8_ai8", 10, "", ""),
        ("dynamic_wi8_afp32", 10, "", "Activations are quantized while running"),
        (
            "weight_only_wi8_afp32",
            0,
            "its weights are stored as int8 and dequantized: the product is float",
            "Slow: 10 of 10 convolutions and matrix products do not run in int8 kernels",
        ),
        (
            "static_wi8_ai16",
            0,
            "its activations are int16, for which XNNPACK has no kernel: quantize them to int8",
            "Slow: activations have 16 bits",
        ),
    ],
)
def test_recipes_of_the_quantizer(
    scheme: str, int8: int, reason: str, advice: str, files: dict[str, Path], digits: Data,
    tmp_path: Path,
) -> None:  # fmt: skip
    found = litert.audit(quantized(files["tflite"], scheme, digits, tmp_path / "q.tflite"))
    assert (found.coverage.int8, found.coverage.total) == (int8, 10)
    assert found.coverage.convolutions == (9 if int8 else 0, 9)
    assert {node.reason for node in found.coverage.survivors} == ({reason} if reason else set())
    assert any(text.startswith(advice) for text in found.advice)
    main = {"static_wi8_ai8": "int8", "static_wi8_ai16": "int16"}.get(scheme, "float32")
    assert max(found.activations, key=found.activations.__getitem__) == main
    assert found.delegated is not None
    assert found.delegated[1] == sum(found.operators.values())
    assert (found.delegated[0] < found.delegated[1] / 2) == (main == "int16")


def test_a_float_file_is_taken_whole_by_the_delegate(files: dict[str, Path]) -> None:
    found = litert.audit(files["tflite"])
    assert found.coverage.int8 == 0
    assert found.delegated == (sum(found.operators.values()),) * 2
    assert found.weights["float32"].size_bytes > 0.9 * sum(
        held.size_bytes for held in found.weights.values()
    )
    assert found.advice == (
        "Not quantized: everything runs in float. squeeze quantize makes it int8.",
    )


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"no model" * 50)
    with pytest.raises(InputError, match="LiteRT cannot load it"):
        litert.audit(tmp_path / "x.tflite")
