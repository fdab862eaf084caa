"""How ``eval`` and ``bench`` feed files: by their descriptions, their own inputs, and flags."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.linear_model import LogisticRegression
from support.command_line import Run

from squeeze.cli.measured_files import opened as open_file
from squeeze.core.errors import InputError
from squeeze.core.types import Silent
from squeeze.data.sets import Opening, open_data
from squeeze.exporting import file
from squeeze.models.types import Model
from squeeze.recipe.schema import DataBlock, InputSpec

Eval = Callable[..., dict[str, Any]]
OWN = ["--mean", "0.3", "--std", "0.35"]


@pytest.fixture
def squeeze(in_process: Run) -> Run:
    """Run the command in this process."""
    return in_process


@pytest.fixture
def evaluated(squeeze: Run) -> Eval:
    """Return what ``squeeze eval --json`` says of a file."""

    def call(path: Path, *flags: str, data: object = "builtin:digits") -> dict[str, Any]:
        code, out, err = squeeze("eval", path, "--validation", data, "--json", *flags)
        assert code == 0, err
        (found,) = json.loads(out)["files"]
        return found["accuracy"] | {"preprocessing": found["preprocessing"], "stderr": err}

    return call


def described(kind: str, files: dict[str, Path], trained: Model, folder: Path) -> Path:
    path = Path(shutil.copy(files[kind], folder))
    file.describe(path, trained, 1)
    return path


@pytest.mark.parametrize("kind", ["onnx", "int8.onnx", "int8.tflite"])
def test_a_file_without_the_one_beside_it_is_fed_the_same(
    kind: str, files: dict[str, Path], trained: Model, evaluated: Eval, tmp_path: Path
) -> None:
    path = described(kind, files, trained, tmp_path)
    beside = evaluated(path)
    path.with_name(path.name + ".json").unlink()
    inside = evaluated(path)
    assert beside["top1"] == inside["top1"]
    assert beside["top1"]["value"] > 0.95
    assert inside["preprocessing"] == trained.input.model_dump(mode="json") | {
        "layout": "NHWC" if kind.endswith("tflite") else "NCHW",
        "source": "the description inside the file",
    }
    assert beside["preprocessing"]["source"] == f"{path.name}.json"
    assert "crop fraction 1, bilinear, mean 0.3, std 0.35" in inside["stderr"]


def test_flags_go_before_descriptions(
    files: dict[str, Path], trained: Model, evaluated: Eval, tmp_path: Path
) -> None:
    path = described("onnx", files, trained, tmp_path)
    found = evaluated(path, "--crop-fraction", "0.5", "--interpolation", "nearest")
    assert found["top1"]["value"] < 0.9  # three quarters of every digit are gone
    used = found["preprocessing"]
    assert (used["crop_fraction"], used["interpolation"], used["mean"]) == (0.5, "nearest", [0.3])
    assert (
        used["source"] == f"crop_fraction, interpolation from flags, the rest from {path.name}.json"
    )
    assert evaluated(path, "--fit", "stretch")["preprocessing"]["fit"] == "stretch"


def test_descriptions_that_disagree_are_told_and_the_one_beside_counts(
    files: dict[str, Path], trained: Model, evaluated: Eval, tmp_path: Path
) -> None:
    path = described("onnx", files, trained, tmp_path)
    beside = path.with_name(path.name + ".json")
    record = json.loads(beside.read_text())
    record["input"]["crop_fraction"] = 0.875
    beside.write_text(json.dumps(record))
    found = evaluated(path, "--quiet")
    assert found["preprocessing"]["crop_fraction"] == 0.875
    assert (
        "disagree (crop_fraction 0.875 beside, 1.0 inside); float.onnx.json is used: remove it "
        "to use the one inside" in found["stderr"]
    )


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (["--fit", "cut"], "--fit: found 'cut', allowed: crop, letterbox, stretch"),
        (["--crop-fraction", "1.5"], "--crop-fraction: found 1.5, allowed: less than or equal to"),
        (["--layout", "nchv"], "did you mean 'nchw'?"),
        (["--channel-order", "gbr"], "--channel-order: found 'gbr', allowed: rgb, bgr"),
        (["--input", "3,8"], "--input: found 2 items, item 2 is missing"),
        (["--input", "4,8,8"], "--input: found 4 channels in shape, allowed: 1 (grey) or 3 (RGB)"),
        (["--mean", "0.4,0.3"], "--mean: mean has 2 numbers for 1 channels"),
        (["--std", "0"], "--std: found 0.0, allowed: greater than 0"),
        (["--fit", "stretch", "--crop-fraction", "0.9"], "--crop-fraction, --fit: fit: stretch"),
    ],
)
def test_wrong_flags_are_told(
    flags: list[str], what: str, squeeze: Callable[..., Any], files: dict[str, Path]
) -> None:
    code, out, err = squeeze("eval", files["onnx"], "--validation", "builtin:digits", *flags)
    assert (code, out) == (2, "")
    assert what in err
    assert "Value error" not in err


def save(path: Path, nodes: list[Any], shape: list[Any], **weights: Any) -> Path:
    """Write a file that nobody describes, from ``images`` to ``scores``."""
    kind = weights.pop("kind", TensorProto.FLOAT)
    graph = helper.make_graph(
        nodes,
        "made by others",
        [helper.make_tensor_value_info("images", kind, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def linear() -> tuple[LogisticRegression, float]:
    """A classifier of the digits' own 64 pixels in [0, 1], and its accuracy."""
    block = DataBlock.model_validate({"train": "builtin:digits", "validation": "builtin:digits"})
    spec = InputSpec(shape=(1, 8, 8), crop_fraction=1.0)
    data = open_data(block, Opening(Path(), spec, 0, Silent()), trains=True, calibrates=False)
    assert data.train is not None
    images, labels = data.train.batch(range(len(data.train)))
    found = LogisticRegression(max_iter=2000).fit(images.reshape(len(images), -1), labels)
    images, labels = data.validation.batch(range(len(data.validation)))
    return found, found.score(images.reshape(len(images), -1), labels)


def classifier(path: Path, linear: LogisticRegression, **options: Any) -> Path:
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["scores"]),
    ]
    scale = options.pop("scale", 1.0)
    weight = (linear.coef_.T / scale).astype(np.float32)
    bias = linear.intercept_.astype(np.float32)
    shape = options.pop("shape", ["N", 1, 8, 8])
    return save(path, nodes, shape, weight=weight, bias=bias, **options)


def test_nothing_is_cut_off_small_images_of_a_strangers_file(
    linear: tuple[LogisticRegression, float], evaluated: Eval, tmp_path: Path
) -> None:
    path = classifier(tmp_path / "x.onnx", linear[0])
    found = evaluated(path)
    assert found["top1"]["value"] == linear[1] > 0.9
    assert found["preprocessing"]["crop_fraction"] == 1.0
    assert found["preprocessing"]["source"] == "the file's own input and defaults"
    assert evaluated(path, "--crop-fraction", "0.875")["top1"]["value"] < linear[1]


@pytest.mark.parametrize("batch", [1, 7])
def test_a_fixed_batch_and_bytes_for_pixels_are_read_from_the_file(
    batch: int, linear: tuple[LogisticRegression, float], evaluated: Eval, tmp_path: Path
) -> None:
    options = {"kind": TensorProto.UINT8, "scale": 255.0, "shape": [batch, 1, 8, 8]}
    path = classifier(tmp_path / "x.onnx", linear[0], **options)
    assert evaluated(path)["top1"]["value"] == linear[1]


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Pictures whose class is their brightest channel, sorted: blue, green, red."""
    rng = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        (tmp_path / "colours" / name).mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 100, (10, 14, 3), dtype=np.uint8)
            pixels[:, :, channel] += 100
            Image.fromarray(pixels).save(tmp_path / "colours" / name / f"{number}.png")
    return tmp_path / "colours"


@pytest.mark.parametrize(
    ("shape", "axes", "flags"),
    [
        (["N", 3, 10, 14], [2, 3], []),
        (["N", 10, 14, 3], [1, 2], []),
        (["N", "H", "W", "C"], [1, 2], ["--layout", "nhwc", "--input", "3,10,14"]),
    ],
)
def test_layout_and_channel_order_reach_the_file(
    shape: list[Any],
    axes: list[int],
    flags: list[str],
    colours: Path,
    evaluated: Eval,
    tmp_path: Path,
) -> None:
    nodes = [helper.make_node("ReduceMean", ["images"], ["scores"], axes=axes, keepdims=0)]
    path = save(tmp_path / "x.onnx", nodes, shape)
    found = evaluated(path, *flags, "--channel-order", "bgr", data=colours)
    assert found["top1"]["value"] == 1.0
    assert found["preprocessing"]["channel_order"] == "bgr"
    assert found["preprocessing"]["layout"] == ("NHWC" if axes == [1, 2] else "NCHW")
    assert found["preprocessing"]["shape"] == [3, 10, 14]
    wrong = evaluated(path, *flags, data=colours)
    assert wrong["top1"]["value"] == pytest.approx(1 / 3)  # green stays green


def test_bench_reads_the_shape_from_the_file(
    squeeze: Callable[..., Any], linear: tuple[LogisticRegression, float], tmp_path: Path
) -> None:
    path = classifier(tmp_path / "x.onnx", linear[0])
    code, out, err = squeeze("bench", path, "--json", "--batch-size", "2")
    assert code == 0, err
    (found,) = json.loads(out)["measurements"]
    assert (found["file"], found["batch_size"]) == (str(path), 2)
    assert found["input"] == {"shape": [1, 8, 8], "layout": "NCHW"}
    assert "fed 2x1x8x8, NCHW" in err
    path = classifier(tmp_path / "y.onnx", linear[0], shape=["N", 1, "H", "W"])
    code, out, err = squeeze("bench", path)
    assert (code, out) == (2, "")
    assert "its input of ?x1x?x? (? is dynamic) is not an image's shape" in err


def test_integers_of_a_quantized_input_are_pixels_unless_told_otherwise(
    files: dict[str, Path], evaluated: Eval, tmp_path: Path
) -> None:
    """Scale and zero point were calibrated on pixels from 0 to 255: they tell mean and std."""
    path = Path(shutil.copy(files["int8.tflite"], tmp_path))
    found = open_file(path).spec
    assert found.mean == pytest.approx((0.3,), abs=0.01)
    assert found.std == pytest.approx((0.35,), abs=0.01)
    whole = ["--crop-fraction", "1"]
    assert (
        evaluated(path, *whole)["top1"]["value"] == evaluated(path, *whole, *OWN)["top1"]["value"]
    )


@pytest.mark.parametrize("flags", [["--mean", "0.485", "--std", "0.229"], ["--std", "1"]])
def test_bytes_are_not_fed_what_a_mean_and_std_leave_of_pixels(
    flags: list[str],
    linear: tuple[LogisticRegression, float],
    squeeze: Callable[..., Any],
    tmp_path: Path,
) -> None:
    options = {"kind": TensorProto.UINT8, "scale": 255.0, "shape": ["N", 1, 8, 8]}
    path = classifier(tmp_path / "x.onnx", linear[0], **options)
    code, out, err = squeeze("eval", path, "--validation", "builtin:digits", *flags)
    assert (code, out) == (2, "")
    assert "takes uint8, and pixels prepared with mean" in err
    assert "leave --mean and --std out" in err


def test_a_bundle_has_no_layout(files: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="a bundle takes nchw"):
        open_file(files["bundle"], {"layout": "nhwc"})
