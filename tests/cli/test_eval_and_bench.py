"""``squeeze eval`` and ``bench`` of several files: settings, comparisons, saved predictions."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.command_line import Run

from squeeze.measure import latency
from squeeze.models import blocks, bundle
from squeeze.recipe.schema import InputSpec, ModelBlock

OWN = ("--input", "1,12,12", "--mean", "0.3", "--std", "0.35", "--crop-fraction", "1")
DATA = ("--validation", "builtin:digits")


@pytest.fixture
def squeeze(in_process: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command, timing in few rounds."""
    monkeypatch.setattr(latency, "_MAX_ROUNDS", 15)
    return in_process


def test_every_file_is_timed_in_every_setting(squeeze: Run, files: dict[str, Path]) -> None:
    pair = (files["int8.onnx"], files["onnx"])
    flags = ("--baseline", files["onnx"], "--batch-size", 1, "--batch-size", 2, "--threads", 1)
    code, out, err = squeeze("bench", *pair, *flags, "--input", "1,12,12", "--json", "--quiet")
    assert code == 0, err
    found = json.loads(out)
    assert found["baseline"] == str(files["onnx"])
    rows = found["measurements"]
    assert [(Path(row["file"]).name, row["batch_size"]) for row in rows] == [
        (files["onnx"].name, 1),
        (files["int8.onnx"].name, 1),
        (files["onnx"].name, 2),
        (files["int8.onnx"].name, 2),
    ]
    for base, other in (rows[:2], rows[2:]):
        assert base["speedup"] == {"value": 1.0, "low": 1.0, "high": 1.0}
        medians = [row["latency"]["median_s"] for row in (base, other)]
        assert other["speedup"]["value"] == pytest.approx(medians[0] / medians[1])
        assert other["speedup"]["low"] <= other["speedup"]["value"] <= other["speedup"]["high"]
    code, out, _ = squeeze("bench", *pair, *flags, "--input", "1,12,12", "--quiet")
    assert out.splitlines()[0].strip() == "onnxruntime, 1 thread"
    assert out.splitlines()[1].split() == ["File", "Batch", "Median", "p95", "Speed-up"]


def test_a_bundle_is_exported_to_the_targets(squeeze: Run, files: dict[str, Path]) -> None:
    net = files["bundle"]
    targets = ("--target", "pytorch", "--target", "onnxruntime", "--target", "litert")
    code, out, err = squeeze("eval", net, files["onnx"], *targets, *DATA, *OWN, "--json", "--quiet")
    assert code == 0, err
    rows = json.loads(out)["files"]
    assert [(Path(row["file"]).name, row["runtime"]) for row in rows] == [
        (net.name, "pytorch"),
        (net.name, "onnxruntime"),
        (net.name, "litert"),
        (files["onnx"].name, "onnxruntime"),
    ]
    assert len({row["accuracy"]["top1"]["value"] for row in rows}) == 1
    assert [row["change"] is None for row in rows] == [True, True, True, False]
    assert rows[3]["change"]["agreement"]["value"] == 1.0
    code, out, err = squeeze("eval", net, *targets[2:], *DATA, *OWN, "--json", "--quiet")
    assert [row["change"] is None for row in json.loads(out)["files"]] == [True, False]
    assert not list(Path().iterdir())


def test_files_are_compared_with_the_baseline(squeeze: Run, files: dict[str, Path]) -> None:
    pair = (files["int8.onnx"], "--baseline", files["onnx"])
    code, out, err = squeeze("eval", *pair, *DATA, *OWN, "--json", "--quiet")
    assert code == 0, err
    base, other = json.loads(out)["files"]
    assert base["change"] is None
    change = other["change"]
    both = [row["accuracy"]["top1"]["value"] for row in (base, other)]
    assert change["drop"]["value"] == pytest.approx(both[0] - both[1])
    assert change["regressions"] - change["fixes"] == pytest.approx(540 * (both[0] - both[1]))
    code, out, _ = squeeze("eval", *pair, *DATA, *OWN, "--quiet")
    lines = out.splitlines()
    assert lines[0].strip() == f"540 samples; change in points against {files['onnx']}"
    assert lines[1].split() == ["File", "top-1", "Change", "Agreement"]


@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_predictions_are_saved_with_the_names_of_samples(
    suffix: str, squeeze: Run, files: dict[str, Path], tmp_path: Path
) -> None:
    place = tmp_path / "deep" / f"found.{suffix}"
    flags = (*DATA, *OWN, "--save-predictions", place, "--quiet", "--json")
    code, out, err = squeeze("eval", files["onnx"], files["int8.onnx"], *flags)
    assert code == 0, err
    tops = [row["accuracy"]["top1"]["value"] for row in json.loads(out)["files"]]
    if suffix == "npz":
        saved = np.load(place)
        assert saved["predictions"].shape == (2, 540, 5)
        assert len(set(saved["names"])) == 540
        assert list(saved["classes"]) == list("0123456789")
        assert list(saved["files"]) == [str(files["onnx"]), str(files["int8.onnx"])]
        right = saved["predictions"][:, :, 0] == saved["truth"]
        assert right.mean(1) == pytest.approx(tops)
    else:
        shown = json.loads(place.read_text())["files"]
        assert [row["runtime"] for row in shown] == ["onnxruntime"] * 2
        for row, top in zip(shown, tops, strict=True):
            right = [each["predicted"][0] == each["label"] for each in row["samples"]]
            assert sum(right) / 540 == pytest.approx(top)
    code, _, err = squeeze("eval", files["onnx"], *flags)
    assert code == 2
    assert "exists already" in err


@pytest.fixture
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a small detector with random weights."""
    spec = InputSpec(shape=(3, 64, 64), fit="letterbox")
    args = {"num_classes": 10, "width_mult": 0.35, "channels": 16}
    block = ModelBlock(build="builtin:tinydet", args=args, weights="random", input=spec)
    return bundle.save(blocks.build(block, Path.cwd()), tmp_path_factory.mktemp("net") / "net")


def test_detections_are_saved_in_pixels_of_the_pictures(
    squeeze: Run, detector: Path, tmp_path: Path
) -> None:
    flags = ("--validation", "builtin:digit_scenes", "--task", "detection", "--quiet")
    code, _, err = squeeze("eval", detector, *flags, "--save-predictions", "found.npz")
    assert code == 0, err
    saved = np.load(tmp_path / "found.npz")
    count = len(saved["scores"])
    assert saved["xyxy"].shape == (count, 4)
    assert saved["xyxy"].max() > 64  # scenes are 96 pixels wide, the input 64
    assert set(saved["file_index"]) <= {0}
    assert saved["sample_index"].max() < len(saved["names"])
    assert {len(saved[name]) for name in ("file_index", "sample_index", "class_index")} == {count}
    code, _, err = squeeze("eval", detector, *flags, "--save-predictions", "found.json")
    assert code == 0, err
    (shown,) = json.loads((tmp_path / "found.json").read_text())["files"]
    found = [each for sample in shown["samples"] for each in sample["detections"]]
    assert len(found) == count
    assert [each["score"] for each in found] == pytest.approx(saved["scores"].tolist())
    code, _, err = squeeze("eval", detector, *flags[:2], "--task", "classification")
    assert code == 2
    assert "is a detector" in err


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--target", "litert"), "is of kind onnx and runs in none of the targets litert"),
        (("--target", "tensorrt"), "--target: unknown runtime 'tensorrt', allowed: "),
        (("--target", "onnxruntime:tpu"), "--target: unknown device 'tpu', allowed: cpu, cuda"),
        (("--target", "onnxruntime:cuda"), "onnxruntime runs on cpu only here, not on cuda"),
        (("--save-predictions", "x.csv"), "allowed: a name that ends in .npz or .json"),
        (("--task", "segmentation"), "--task: unknown task 'segmentation', allowed: "),
        (("--task", "detection"), "has no description that says how boxes are read"),
        (("--image-set", "test=a"), "--image-set test=a: unknown role 'test', allowed: "),
        (("--image-set", "a", "--image-set", "b"), "--image-set: is given twice for validation"),
        (("--on-bad-boxes", "drop"), "--on-bad-boxes: found 'drop', allowed: refuse, repair"),
        (("--on-corrupt", "drop"), "--on-corrupt: found 'drop', allowed: refuse, skip"),
        (("--classes", "a,a"), "--classes a,a: names two classes the same"),
        (("--baseline", "nothing.onnx"), "nothing.onnx: no such file"),
        (("--threads", "0"), "Invalid value for '--threads'"),
    ],
)
def test_wrong_flags_of_eval_exit_with_2(
    flags: tuple[str, ...], expected: str, squeeze: Run, files: dict[str, Path], tmp_path: Path
) -> None:
    code, out, err = squeeze("eval", files["onnx"], *DATA, *OWN, *flags)
    assert (code, out) == (2, ""), err
    assert expected in err
    assert list(tmp_path.iterdir()) == []
