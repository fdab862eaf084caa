"""Data sets that hold some of a model's classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from squeeze.core.errors import InputError
from squeeze.core.types import Silent
from squeeze.data.sets import Data, Opening, open_data
from squeeze.recipe.schema import DataBlock, InputSpec

CLASSES = tuple(f"class{number:02}" for number in range(80))
OWN = ("class41", "class59", "class60")


def paint(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def folder(root: Path) -> dict[str, Any]:
    for number, name in enumerate(OWN):
        paint(root / name / "a.png", number)
    return {"format": "image_folder", "path": str(root)}


def voc(root: Path) -> dict[str, Any]:
    for number, name in enumerate(OWN):
        paint(root / "JPEGImages" / f"{number}.png", number)
        xml = root / "Annotations" / f"{number}.xml"
        xml.parent.mkdir(exist_ok=True)
        xml.write_text(
            f"<annotation><object><name>{name}</name><bndbox><xmin>3</xmin><ymin>4</ymin>"
            "<xmax>20</xmax><ymax>18</ymax></bndbox></object></annotation>"
        )
    return {"format": "voc", "path": str(root)}


def yolo(root: Path) -> dict[str, Any]:
    for number in range(3):
        paint(root / "images" / f"{number}.png", number)
        label = root / "labels" / f"{number}.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text(f"{number} 0.5 0.5 0.5 0.5\n")
    (root / "classes.txt").write_text("\n".join(OWN))
    return {"format": "yolo", "path": str(root)}


def function(root: Path) -> dict[str, Any]:
    root.mkdir()
    (root / "data.py").write_text(
        "import numpy as np\n"
        "class Own:\n"
        f"    classes = {OWN}\n"
        "    def __len__(self): return 3\n"
        "    def __getitem__(self, i):\n"
        "        if i > 2: raise IndexError\n"
        "        return np.full((8, 8, 3), i, np.uint8), i\n"
        "def numbered(): return [(np.full((8, 8, 3), i, np.uint8), 20 * i + 1) for i in range(3)]\n"
    )
    return {"format": "function", "build": f"{root}/data.py:Own"}


def opened(source: dict[str, Any], classes: tuple[str, ...] = ()) -> Data:
    fit = "crop" if source["format"] in {"image_folder", "function"} else "stretch"
    spec = InputSpec.model_validate({"shape": (3, 8, 8), "fit": fit})
    opening = Opening(Path(), spec, 0, Silent(), classes=classes)
    block = DataBlock.model_validate({"validation": source})
    return open_data(block, opening, trains=True, calibrates=False)


def numbers(data: Data) -> list[int]:
    split = data.validation
    if split.has_boxes:
        return [int(boxes.classes[0]) for boxes in split.labels]
    return [int(label) for label in split.labels]


@pytest.mark.parametrize("write", [folder, voc, yolo, function])
def test_names_are_put_in_the_models_order(write: Any, tmp_path: Path) -> None:
    source = write(tmp_path / "set")
    assert numbers(opened(source)) == [0, 1, 2]
    given = {**source, "classes": CLASSES}
    for data in (opened(source, CLASSES), opened(given), opened(given, ("x", "y", *OWN))):
        assert list(data.classes) == list(CLASSES)
        assert numbers(data) == [41, 59, 60]
        things = "boxes" if data.validation.has_boxes else "images"
        expected = (
            f"no {things} of class00, class01, class02, class03, class04, … (77 of 80 classes)"
        )
        assert data.validation.notes[-1] == f"data.validation: {expected}"
    images, _ = data.validation.batch([0])
    assert images.shape == (1, 3, 8, 8)


@pytest.mark.parametrize("write", [folder, voc, yolo, function])
def test_a_class_that_the_model_does_not_know_is_refused(write: Any, tmp_path: Path) -> None:
    source = write(tmp_path / "set")
    with pytest.raises(InputError) as caught:
        opened(source, CLASSES[:60])
    assert "unknown class 'class60', allowed: class00, class01" in str(caught.value)
    assert "name them in order by 'classes'" in str(caught.value)
    with pytest.raises(InputError, match="unknown class 'class60'"):
        opened({**source, "classes": CLASSES[:60]})


def test_numbers_are_those_of_the_outputs(tmp_path: Path) -> None:
    source = function(tmp_path / "set")
    source["build"] = source["build"].replace("Own", "numbered")
    assert len(opened(source).classes) == 42
    data = opened(source, CLASSES)
    assert list(data.classes) == list(CLASSES)
    assert numbers(data) == [1, 21, 41]
    with pytest.raises(InputError, match="has 42 classes, the model knows 40"):
        opened(source, CLASSES[:40])
    with pytest.raises(InputError, match="has 42 classes, 'classes' names 3"):
        opened({**source, "classes": OWN})


def test_calibration_may_take_all_of_train() -> None:
    block: dict[str, Any] = {
        "train": "builtin:digits",
        "validation": "builtin:digits",
        "calibration": {"from": "train", "samples": 1257},
    }
    opening = Opening(Path(), InputSpec(shape=(1, 8, 8), crop_fraction=1.0), 0, Silent())

    def calibrated(block: dict[str, Any]) -> Data:
        return open_data(DataBlock.model_validate(block), opening, trains=False, calibrates=True)

    data = calibrated(block)
    assert data.train is not None
    assert data.calibration is not None
    assert sorted(data.calibration.digests) == sorted(data.train.digests)
    block["calibration"]["samples"] = 1258
    with pytest.raises(InputError, match=r"asks for 1258 samples, data\.train has 1257"):
        calibrated(block)
    block["calibration"] = {"from": "validation", "samples": 540}
    with pytest.raises(InputError, match=r"data\.validation has 540 and would have none left"):
        calibrated(block)
