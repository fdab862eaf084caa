"""What is known of files that somebody else made."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

import squeeze
from squeeze import InputError
from squeeze.api.served import exported, served


def averages(path: Path, shape: list[int | str]) -> Path:
    """Write a file whose three outputs are the means of the channels."""
    nodes = [helper.make_node("ReduceMean", ["images"], ["scores"], axes=[2, 3], keepdims=0)]
    graph = helper.make_graph(
        nodes,
        "made by others",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def test_a_file_without_description_is_fed_by_its_own_shape(tmp_path: Path) -> None:
    path = averages(tmp_path / "x.onnx", ["N", 3, 10, 14])
    file = served(path)
    assert (file.spec.shape, file.layout, file.runtime) == ((3, 10, 14), "NCHW", "onnxruntime")
    assert file.source == "the file's own input and defaults"
    (timing,) = squeeze.benchmark([path]).models
    assert timing.runtime == "onnxruntime"
    folder = tmp_path / "colours"
    for channel, name in enumerate(("a_red", "b_green", "c_blue")):
        (folder / name).mkdir(parents=True)
        colour = tuple(200 if n == channel else 10 for n in range(3))
        for number in range(2):
            Image.new("RGB", (14, 10), colour).save(folder / name / f"{number}.png")
    assert squeeze.evaluate(path, folder).accuracy.headline[1].value == 1.0


def test_what_is_given_goes_first_and_is_blamed(tmp_path: Path) -> None:
    path = averages(tmp_path / "x.onnx", ["N", 3, "H", "W"])
    with pytest.raises(InputError, match=r"its input of \?x3x\?x\? \(\? is dynamic\)"):
        served(path)
    given = served(path, {"shape": [3, 8, 8], "mean": [0.5]})
    assert (given.spec.shape, given.spec.mean) == ((3, 8, 8), (0.5,))
    assert given.source == "mean, shape from the example, the rest from defaults"
    assert served(path, fallback=(3, 9, 9)).spec.shape == (3, 9, 9)
    with pytest.raises(InputError, match=r"^example: std: found 0, allowed: greater than 0$"):
        served(path, {"shape": [3, 8, 8], "std": [0]})
    with pytest.raises(InputError, match=r"example: layout of .*did you mean 'nchw'"):
        served(path, {"layout": "nchv"})


def test_what_is_no_exported_file(tmp_path: Path) -> None:
    for name, what in (("x.txt", "is not an exported file"), ("x.onnx", "no such file")):
        with pytest.raises(InputError, match=what):
            exported(tmp_path / name)
    with pytest.raises(InputError, match=r"is neither a bundle folder nor an \.onnx or \.tf"):
        served(tmp_path / "x.txt")
