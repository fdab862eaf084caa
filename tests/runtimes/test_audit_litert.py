"""TFLite files of every recipe of ai-edge-quantizer: kernels, delegate, types, reasons."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from squeeze.core.errors import InputError
from squeeze.data.sets import Data
from squeeze.models.types import Model
from squeeze.runtimes.base import Execution
from squeeze.runtimes.litert import export as exporter
from squeeze.runtimes.runtime import load as load_runtime

litert = load_runtime("litert")


def quantized(source: Path, scheme: str, digits: Data, path: Path) -> Path:
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    from squeeze.core.output import redirect_output

    with redirect_output(None):
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
        ("dynamic_wi8_afp32", 9, "", "Integer but slow: 1 of 10 convolutions and matrix products"),
        (
            "weight_only_wi8_afp32",
            0,
            "its weights are stored as int8 and dequantized: the product is float",
            "Slow: 10 of 10 convolutions and matrix products run in float",
        ),
        (
            "static_wi8_ai16",
            0,
            "",
            "Integer but slow: 10 of 10 convolutions and matrix products run in integer kernels",
        ),
    ],
)
def test_recipes_of_the_quantizer(
    scheme: str, int8: int, reason: str, advice: str, files: dict[str, Path], digits: Data,
    tmp_path: Path,
) -> None:  # fmt: skip
    found = litert.audit(quantized(files["tflite"], scheme, digits, tmp_path / "q.tflite"))
    assert (found.coverage.int8, found.coverage.total) == (int8, 10)
    assert found.coverage.convolutions == (max(0, int8 - 1), 9)
    assert {node.reason for node in found.coverage.survivors} == ({reason} if reason else set())
    assert any(text.startswith(advice) for text in found.advice)
    slow = {"static_wi8_ai16": 10, "dynamic_wi8_afp32": 1}.get(scheme, 0)
    told = (
        "its activations are int16"
        if slow == 10
        else "XNNPACK does not take a DEPTHWISE_CONV_2D of float"
    )
    assert len(found.coverage.slow) == slow
    assert all(told in node.reason for node in found.coverage.slow)
    assert ("quantized while running" in " ".join(found.advice)) == scheme.startswith("dynamic")
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
    assert found.advice[0].endswith("What quantizes this file itself is ai-edge-quantizer.")


def in_branches(source: Path, path: Path) -> Path:
    """Write a file whose IF has the source's graph in both of its branches."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(source.read_bytes(), 0)
    body, outer = model.subgraphs[0], schema.SubGraphT()
    choice = schema.TensorT()
    choice.name, choice.type, choice.shape, choice.buffer = b"choice", schema.TensorType.BOOL, [], 0
    ends = [body.tensors[body.inputs[0]], body.tensors[body.outputs[0]]]
    outer.tensors = [choice, *map(copy.deepcopy, ends)]
    outer.inputs, outer.outputs, outer.name = [0, 1], [2], b"main"
    operator, options = schema.OperatorT(), schema.IfOptionsT()
    options.thenSubgraphIndex, options.elseSubgraphIndex = 1, 2
    operator.inputs, operator.outputs = [0, 1], [2]
    operator.opcodeIndex = len(model.operatorCodes)
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.IfOptions, options
    outer.operators = [operator]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.IF
    model.operatorCodes.append(code)
    model.subgraphs = [outer, body, copy.deepcopy(body)]
    model.signatureDefs = []
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    return path


@pytest.mark.parametrize("kind", ["tflite", "int8.tflite"])
def test_branches_are_looked_into(kind: str, files: dict[str, Path], tmp_path: Path) -> None:
    plain = litert.audit(files[kind])
    found = litert.audit(in_branches(files[kind], tmp_path / "if.tflite"))
    assert found.operators == {op: 2 * n for op, n in plain.operators.items()} | {"IF": 1}
    assert (found.coverage.int8, found.coverage.total) == (2 * plain.coverage.int8, 20)
    assert found.coverage.convolutions == (18 if kind == "int8.tflite" else 0, 18)
    assert found.weights["float32" if kind == "tflite" else "int8"].tensors >= 20
    assert found.delegated == (0, 1)
    assert "nothing to run in int8" not in " ".join(found.advice)


class Joined(nn.Module):
    """Softmax, resizing and sigmoid in integers whose scales a concatenation changes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.up = nn.Upsample(size=(12, 12), mode="bilinear")
        self.last = nn.Conv2d(32, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(N, 8, 10, 10)``."""
        first = self.first(x)
        parts = [first, first.softmax(1), self.up(first[..., ::2, ::2]), first.sigmoid()]
        found: torch.Tensor = self.last(torch.cat(parts, 1))
        return found


def test_integers_before_a_change_of_scale_are_no_float_islands(
    trained: Model, digits: Data, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    exporter.export(replace(trained, module=Joined().eval()), tmp_path / "float.tflite")
    source = tmp_path / "float.tflite"
    found = litert.audit(quantized(source, "static_wi8_ai8", digits, tmp_path / "q.tflite"))
    assert {"SOFTMAX", "RESIZE_BILINEAR", "LOGISTIC"} <= set(found.operators)
    assert (
        found.operators["QUANTIZE"] == 2
    )  # behind softmax and sigmoid, to the scale of what is joined
    assert found.islands == []
    assert found.activations == {"int8": sum(found.operators.values())}


def test_names_that_are_no_text_are_read(files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "strange.tflite"
    whole = files["tflite"].read_bytes()
    assert b"serving_default_args_0" in whole
    path.write_bytes(whole.replace(b"serving_default_args_0", b"\xff\xfe" + b"\xc3" * 20))
    assert litert.audit(path) == litert.audit(files["tflite"])
    with pytest.raises(InputError, match="the name of a tensor is not UTF-8"):
        litert.open_session(path, Execution())


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"no model" * 50)
    with pytest.raises(InputError, match="LiteRT cannot load it"):
        litert.audit(tmp_path / "x.tflite")
