"""How flags name data: every format is reachable, and detection data wherever it is measured."""

import json
from pathlib import Path

import pytest
from support import box_folders
from support.command_line import Run

from squeeze.core import plugins
from squeeze.models import blocks, bundle
from squeeze.recipe.schema import InputSpec, ModelBlock, expand_data_reference


@pytest.fixture
def squeeze(in_process: Run) -> Run:
    """Run the command in this process."""
    return in_process


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pictures", {"format": "image_folder", "path": "pictures"}),
        ("builtin:digits", {"format": "digits"}),
        ("voc:VOC2012", {"format": "voc", "path": "VOC2012"}),
        ("torchvision:MNIST", {"format": "torchvision", "name": "MNIST"}),
        ("torchvision:MNIST:data", {"format": "torchvision", "name": "MNIST", "path": "data"}),
        (
            "coco:val2017:instances.json",
            {"format": "coco", "path": "val2017", "annotations": "instances.json"},
        ),
        ("./data.py:digits", {"format": "function", "build": "./data.py:digits"}),
        ("package.module:digits", {"format": "function", "build": "package.module:digits"}),
        ("function:./data.py:digits", {"format": "function", "build": "./data.py:digits"}),
    ],
)
def test_references_are_expanded(text: str, expected: dict[str, str]) -> None:
    assert expand_data_reference(text) == expected


@pytest.mark.parametrize("name", plugins.names(plugins.DATASETS))
def test_every_format_is_reachable_by_its_name(name: str) -> None:
    assert expand_data_reference(f"{name}:a:b")["format"] == name


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    """A bundle of a small detector of two classes with random weights."""
    spec = InputSpec(shape=(3, 64, 64), fit="letterbox")
    args = {"num_classes": 2, "width_mult": 0.35, "channels": 16}
    block = ModelBlock(build="builtin:tinydet", args=args, weights="random", input=spec)
    return bundle.save(blocks.build(block, Path.cwd()), tmp_path / "net")


def test_coco_data_is_evaluated_and_measured_for_sensitivity(
    squeeze: Run, detector: Path, tmp_path: Path
) -> None:
    box_folders.write_coco(tmp_path / "cells")
    data = "coco:cells/images:cells/boxes.json"
    repaired = ("--on-bad-boxes", "repair", "--task", "detection", "--classes", "spot,cell")
    code, out, err = squeeze("eval", detector, "--validation", data, *repaired, "--json", "-q")
    assert code == 0, err
    (found,) = json.loads(out)["files"]
    assert found["accuracy"]["samples"] == len(box_folders.PICTURES)
    images = ("--data", data, "--samples", 2, "--keep", "backbone.*", "--json", "--quiet")
    code, out, err = squeeze("inspect", "sensitivity", detector, *images, *repaired)
    assert code == 0, err
    assert json.loads(out)["metric"] == "mAP"
    code, _, err = squeeze("inspect", "sensitivity", detector, *images, "--task", "classification")
    assert code == 2
    assert "--data: the images are labelled with boxes; set --task detection" in err
    code, _, err = squeeze("eval", detector, "--validation", "coco:cells/images")
    assert code == 2
    assert "--validation: format 'coco' needs 'annotations'" in err
    code, _, err = squeeze("eval", detector, "--validation", "builtin:digits", "--image-set", "a")
    assert code == 2
    assert "--image-set: format 'digits' does not use 'image_set'" in err
