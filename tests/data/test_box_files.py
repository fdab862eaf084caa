"""Files of boxes that do not add up, lists and names of classes, and boxes without files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.box_folders import (
    FIRST,
    SECOND,
    coco_content,
    named,
    opened,
    paint,
    refusal,
    validation,
    voc,
    voc_object,
    write_coco,
    write_voc,
    write_yolo,
    yolo,
)

from squeeze.recipe.schema import InputSpec


def edited(content: dict[str, Any], part: str, key: str, value: Any) -> dict[str, Any]:
    content[part][-1][key] = value
    return content


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('{"images": [\n  {"id": 1,,}]}', "boxes.json:2:12: is broken JSON"),
        ("[]", "has no list 'images'"),
        ('{"images": []}', "has no list 'annotations'"),
        (edited(coco_content(), "images", "id", 7), "images[1] repeats id 7"),
        (edited(coco_content(), "images", "id", "8"), "images[1] has id '8', expected a whole"),
        (edited(coco_content(), "annotations", "id", 100), "annotations[2] repeats id 100"),
        (
            edited(coco_content(), "annotations", "image_id", 9),
            "annotation 102 names image 9, which 'images' lacks",
        ),
        (
            edited(coco_content(), "annotations", "category_id", 1),
            "annotation 102 names category 1, which 'categories' lacks; it has 3, 90",
        ),
        (
            edited(coco_content(), "annotations", "bbox", [1, 2, 3]),
            "annotation 102 has bbox [1, 2, 3], expected [left, top, width, height]",
        ),
        (
            edited(coco_content(), "annotations", "bbox", [1, 2, float("nan"), 3]),
            "1 of 3 boxes are bad: 1 not finite numbers (annotation 102)",
        ),
        (
            edited(coco_content(), "categories", "name", "cell"),
            "has two categories named 'cell'",
        ),
        (
            edited(coco_content(), "images", "file_name", "../../secret.png"),
            "image 8 is '../../secret.png', which leads out of the folder",
        ),
    ],
)
def test_coco_files_that_do_not_add_up(content: Any, text: str, tmp_path: Path) -> None:
    assert text in refusal(write_coco(tmp_path, content))


def write_xml(root: Path, text: str) -> Path:
    write_voc(root)
    (root / "Annotations" / "b.xml").write_text(text)
    return root


GROWS = (
    '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY x "xxxxxxxx"><!ENTITY y "&x;&x;&x;&x;">]>\n'
    "<annotation><filename>&y;</filename></annotation>"
)


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        ("<annotation>\n<object>\n</annotation>", "b.xml:3: is broken XML: mismatched tag"),
        ("", "b.xml:1: is broken XML: no element found"),
        (GROWS, "b.xml: declares a document type ('a'), refused"),
        ("<voc></voc>", "b.xml: has root <voc>, expected <annotation>"),
        (
            "<annotation>\n<object><name>cell</name></object></annotation>",
            "b.xml:2: this object has no <bndbox/xmin>",
        ),
        (
            "<annotation>\n"
            + voc_object(("cell", 1, 2, 3, 4)).replace(">3<", ">three<")
            + "</annotation>",
            "b.xml:2: a corner of this object is not a number",
        ),
    ],
)
def test_xml_that_does_not_add_up(xml: str, text: str, tmp_path: Path) -> None:
    assert text in refusal(voc(write_xml(tmp_path, xml)))


def test_voc_folders_and_lists(tmp_path: Path) -> None:
    assert "has no folder 'Annotations'" in refusal(voc(tmp_path))
    root = write_voc(tmp_path)
    assert "unknown image_set 'vall', allowed: val; did you mean 'val'?" in refusal(
        voc(root, image_set="vall")
    )
    listing = root / "ImageSets" / "Main" / "val.txt"
    listing.write_text("a\nb 1\na -1\n")
    assert "lists 'a' more than once" in refusal(voc(root))
    listing.write_text("\n")
    assert "lists no images" in refusal(voc(root))
    listing.write_text("a\nc\n")
    assert "has no annotation of the image 'c'" in refusal(voc(root))
    listing.unlink()
    listing.parent.rmdir()
    assert len(validation(voc(root))) == 2


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("2 0.5 0.5 0.1 0.1", "b.txt:1: found class 2, but there are 2 names (0 to 1)"),
        ("0 0.5 0.5 0.1", "b.txt:1: found '0 0.5 0.5 0.1', expected a class number and four"),
        ("0 a b c d", "b.txt:1: found '0 a b c d'"),
        ("0 20 15 5 5", "expected shares of the picture's sides, not pixels"),
        ("0 0.5 0.5 0 0.1", "1 of 3 boxes are bad: 1 without area (b.txt:1)"),
        ("0 0.9 0.5 0.9 0.1", "1 of 3 boxes are bad: 1 reaching out of the picture (b.txt:1)"),
    ],
)
def test_yolo_lines_that_do_not_add_up(line: str, text: str, tmp_path: Path) -> None:
    root = write_yolo(tmp_path)
    (root / "labels" / "val" / "b.txt").write_text(line)
    assert text in refusal(yolo(root))


def by_numbers(root: Path) -> list[str]:
    (root / "data.yaml").unlink()
    return ["0", "1"]


def by_text(root: Path) -> list[str]:
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("dot\nblob\n")
    return ["dot", "blob"]


def by_list(root: Path) -> list[str]:
    (root / "data.yaml").write_text("names: [dot, blob]")
    return ["dot", "blob"]


@pytest.mark.parametrize("rewrite", [by_numbers, by_text, by_list])
def test_yolo_names(rewrite: Callable[[Path], list[str]], tmp_path: Path) -> None:
    root = write_yolo(tmp_path)
    expected = rewrite(root)
    assert list(validation(yolo(root)).samples.classes) == expected


def test_yolo_images_without_labels_and_lists(tmp_path: Path) -> None:
    root = write_yolo(tmp_path)
    paint(root / "images" / "val" / "c.png", 5)
    split = validation(yolo(root))
    assert [len(boxes) for boxes in split.truth] == [2, 1, 0]
    assert "1 of 3 images have no label file" in split.notes[0]
    (root / "some.txt").write_text("images/val/b.png\n")
    assert named(validation(yolo(root, image_set="some.txt"))) == [SECOND]
    assert "has neither images/rest nor rest/images nor rest.txt" in refusal(
        yolo(root, image_set="rest")
    )
    (root / "data.yaml").write_text("nc: 2")
    assert "has no 'names'" in refusal(yolo(root))


def test_digit_scenes_are_real_digits_the_same_every_time() -> None:
    spec = InputSpec(shape=(3, 64, 64), fit="stretch")
    source = {"format": "digit_scenes", "args": {"scenes": 12, "side": 64, "most": 3}}
    data = opened({"train": source, "validation": source}, spec)
    again = opened({"train": source, "validation": source}, spec)
    other = opened(
        {"validation": source | {"args": {"scenes": 12, "side": 64, "most": 3, "seed": 1}}}, spec
    )
    assert data.train is not None
    assert len(data.train) == len(data.validation) == 12
    assert list(data.classes) == list("0123456789")
    assert data.validation.fingerprint == again.validation.fingerprint
    assert data.validation.fingerprint != other.validation.fingerprint
    for boxes in data.validation.truth:
        assert 1 <= len(boxes) <= 3
        assert boxes.xyxy.min() >= 0
        assert boxes.xyxy.max() <= 64
        assert (boxes.areas >= 20).all()
    unknown = "data.validation.args.scene: unknown argument of 'digit_scenes' 'scene'"
    assert refusal(source | {"args": {"scene": 3}}, spec).startswith(unknown)
    small = "data.validation.args.side: found 10, allowed: greater than or equal to 48"
    assert refusal(source | {"args": {"side": 10}}, spec).startswith(small)


FUNCTION = """
import numpy as np
import torch
from squeeze.core.boxes import Boxes

class Scenes:
    classes = ["cell", "spot"]
    def __init__(self, kind): self.kind = kind
    def __len__(self): return 2
    def __getitem__(self, index):
        pixels = np.full((30, 40, 3), 9 * index, np.uint8)
        corners = [[4, 3, 20, 18], [0, 0, 40, 30]][index:]
        if self.kind == "dict":
            return pixels, {"boxes": torch.tensor(corners), "labels": torch.tensor([0, 1][index:])}
        if self.kind == "wrong":
            return pixels, {"boxes": corners}
        if self.kind == "outside":
            return pixels, Boxes.of([[10, 10, 99, 20]], [0])
        if self.kind == "class":
            return pixels, Boxes.of([[10, 10, 20, 20]], [2])
        return pixels, Boxes.of(corners, [0, 1][index:])

def make(kind): return Scenes(kind)
"""


def test_a_function_may_give_boxes(tmp_path: Path) -> None:
    (tmp_path / "scenes.py").write_text(FUNCTION)

    def source(kind: str) -> dict[str, Any]:
        return {
            "format": "function",
            "build": f"{tmp_path}/scenes.py:make",
            "args": {"kind": kind},
        }

    for kind in ("boxes", "dict"):
        split = validation(source(kind))
        assert named(split) == [FIRST, FIRST[1:]]
        assert split.placement(0).size == (30, 40)
    assert "expected (image, class index) or (image, boxes)" in refusal(source("wrong"))
    assert "make[0]: has a box that is not in its picture of 40 x 30" in refusal(source("outside"))
    assert "has labels 2 to 2 for 2 classes" in refusal(source("class"))
