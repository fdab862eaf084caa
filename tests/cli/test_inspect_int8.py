"""``squeeze inspect int8`` and ``layers``: what they print, what they refuse."""

import json
from functools import partial
from pathlib import Path

import onnx
import pytest
from support.command_line import Run

pytestmark = pytest.mark.usefixtures("portable_cpu")

INPUT = ["--input", "1,12,12", "--mean", "0.3", "--std", "0.35", "--data", "builtin:digits"]


@pytest.fixture
def inspect(in_process: Run) -> Run:
    """Run ``squeeze inspect``."""
    return partial(in_process, "inspect")


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_an_int8_file_is_explained(kind: str, inspect: Run, files: dict[str, Path]) -> None:
    code, out, _ = inspect("int8", files[f"int8.{kind}"])
    assert code == 0
    assert out.startswith("10 of 10 convolutions and matrix products run in int8 kernels (9 of 9")
    code, out, _ = inspect("int8", files[kind], "--json")
    assert code == 0
    found = json.loads(out)
    assert found["coverage"]["int8"] == 0
    assert len(found["coverage"]["survivors"]) == 10
    assert found["weights"]["float32"]["size_bytes"] > 1000
    assert found["advice"][0].startswith("Not quantized: everything runs in float.")
    assert "it takes no exported files" in found["advice"][0]


def test_what_cannot_be_looked_into_is_the_users_mistake(inspect: Run, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nonsense" * 50)
    (tmp_path / "x.tflite").write_bytes(b"nonsense" * 50)
    for name, told in (
        ("x.onnx", "ONNX Runtime cannot load it"),
        ("x.tflite", "LiteRT cannot load it"),
        ("none.onnx", "no such file"),
        ("x.pt", "x.pt: is not an exported file, expected an .onnx or .tflite file"),
    ):
        code, out, error = inspect("int8", name)
        assert (code, out) == (2, "")
        assert told in error
        assert "bug in squeeze" not in error
    code, _, error = inspect("int8", "x.onnx", "--data", "builtin:digits")
    assert code == 2
    assert "No such option: --data" in error


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_layers_are_compared_worst_first(
    kind: str, inspect: Run, files: dict[str, Path], tmp_path: Path
) -> None:
    pair = ["layers", files[kind], files[f"int8.{kind}"], *INPUT, "--samples", 4]
    code, out, error = inspect(*pair, "--plot", "layers.png")
    assert code == 0, error
    assert "matched by name and compared on 4 images" in out
    assert (tmp_path / "layers.png").read_bytes().startswith(b"\x89PNG")
    code, out, _ = inspect(*pair, "--json")
    assert code == 0
    found = json.loads(out)
    ratios = [layer["sqnr_db"] for layer in found["layers"] if layer["sqnr_db"] is not None]
    assert ratios == sorted(ratios)
    assert len(ratios) >= 9
    assert found["images"] == 4


def test_one_clash_of_names_does_not_stop_the_comparison(
    inspect: Run, files: dict[str, Path], tmp_path: Path
) -> None:
    model = onnx.load(files["onnx"])
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    first, last = convolutions[0].output[0], convolutions[-1].output[0]
    swap = {first: last, last: first}
    for node in model.graph.node:
        for side in (node.input, node.output):
            side[:] = [swap.get(name, name) for name in side]
    del model.graph.value_info[:]
    onnx.save(model, tmp_path / "swapped.onnx")
    arguments = ["layers", tmp_path / "swapped.onnx", files["int8.onnx"], *INPUT, "--samples", 2]
    code, out, error = inspect(*arguments)
    assert code == 0, error
    assert "same name but another number of values" in out
    code, out, _ = inspect(*arguments, "--json")
    found = json.loads(out)
    assert found["clashing"]
    assert found["clashing"].keys() <= {first, last}
    assert len(found["layers"]) >= 7


def test_what_layers_cannot_compare_is_told(inspect: Run, files: dict[str, Path]) -> None:
    for arguments, told in (
        ([files["onnx"], files["int8.onnx"]], "Missing option '--data'"),
        ([files["onnx"], files["int8.tflite"], *INPUT], "give two .onnx or two .tflite files"),
        (
            [files["onnx"], files["int8.onnx"], "--fit", "cut", "--data", "builtin:digits"],
            "--fit: found 'cut', allowed: crop, letter",
        ),
        (
            [files["onnx"], files["int8.onnx"], "--input", "3,12,12", "--data", "builtin:digits"],
            "does not run on an image of",
        ),
    ):
        code, out, error = inspect("layers", *arguments)
        assert (code, out) == (2, ""), error
        assert told in error
