"""Detection data in every format, and what makes it unusable."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from squeeze.core.errors import InputError
from squeeze.core.types import Silent
from squeeze.data.splits import Data, Opening, Split, open_data
from squeeze.recipe.schema import DataBlock, InputSpec

SPEC = InputSpec(shape=(3, 32, 32), fit="letterbox")
Box = tuple[str, float, float, float, float]

# two pictures of 40 x 30: corners in continuous pixels
FIRST: list[Box] = [("cell", 4, 3, 20, 18), ("spot", 0, 0, 40, 30)]
SECOND: list[Box] = [("cell", 10, 10, 15, 12)]
PICTURES = {"a": FIRST, "b": SECOND}


def paint(file: Path, seed: int, size: tuple[int, int] = (40, 30)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def voc_object(box: Box, extra: str = "") -> str:
    name, x1, y1, x2, y2 = box
    return (
        f"<object><name>{name}</name>{extra}<bndbox><xmin>{x1 + 1:g}</xmin><ymin>{y1 + 1:g}</ymin>"
        f"<xmax>{x2:g}</xmax><ymax>{y2:g}</ymax></bndbox></object>\n"
    )


def write_voc(
    root: Path, pictures: dict[str, list[Box]] = PICTURES, name: str = "val", seed: int = 0
) -> Path:
    for number, (stem, boxes) in enumerate(pictures.items()):
        paint(root / "JPEGImages" / f"{stem}.png", seed + number)
        file = root / "Annotations" / f"{stem}.xml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(
            f"<annotation>\n<filename>{stem}.png</filename>\n"
            "<size><width>40</width><height>30</height></size>\n"
            + "".join(map(voc_object, boxes))
            + "</annotation>\n"
        )
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True, exist_ok=True)
    (lists / f"{name}.txt").write_text("\n".join(pictures))
    return root


def coco_content(pictures: dict[str, list[Box]] = PICTURES) -> dict[str, Any]:
    """Images 7, 8, …; categories 3 (spot) and 90 (cell), whose order is not that of the names."""
    ids = {"spot": 3, "cell": 90}
    annotations = [
        {"image_id": 7 + n, "category_id": ids[name], "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for n, boxes in enumerate(pictures.values())
        for name, x1, y1, x2, y2 in boxes
    ]
    return {
        "images": [
            {"id": 7 + n, "file_name": f"{stem}.png", "width": 40, "height": 30}
            for n, stem in enumerate(pictures)
        ],
        "categories": [{"id": n, "name": name} for name, n in reversed(ids.items())],
        "annotations": [
            a | {"id": 100 + n, "iscrowd": 0, "area": 5.5 + n} for n, a in enumerate(annotations)
        ],
    }


def write_coco(root: Path, content: Any = None) -> dict[str, Any]:
    for number, stem in enumerate(PICTURES):
        paint(root / "images" / f"{stem}.png", number)
    text = content if isinstance(content, str) else json.dumps(content or coco_content(), indent=1)
    (root / "boxes.json").write_text(text)
    return {
        "format": "coco",
        "path": str(root / "images"),
        "annotations": str(root / "boxes.json"),
    }


def write_yolo(root: Path, layout: str = "images/val") -> Path:
    names = ["spot", "cell"]
    labels = root / layout.replace("images", "labels")
    labels.mkdir(parents=True)
    for number, (stem, boxes) in enumerate(PICTURES.items()):
        paint(root / layout / f"{stem}.png", number)
        lines = [
            f"{names.index(name)} {(x1 + x2) / 80:.7f} {(y1 + y2) / 60:.7f} "
            f"{(x2 - x1) / 40:.7f} {(y2 - y1) / 30:.7f}"
            for name, x1, y1, x2, y2 in boxes
        ]
        (labels / f"{stem}.txt").write_text("\n".join(lines) + "\n")
    (root / "data.yaml").write_text("names: {0: spot, 1: cell}\n")
    return root


def opened(block: dict[str, Any], spec: InputSpec = SPEC) -> Data:
    opening = Opening(Path(), spec, 0, Silent())
    return open_data(DataBlock.model_validate(block), opening, trains=True, calibrates=True)


def validation(source: Any, spec: InputSpec = SPEC) -> Split:
    return opened({"validation": source}, spec).validation


def refusal(source: Any, spec: InputSpec = SPEC) -> str:
    with pytest.raises(InputError) as caught:
        validation(source, spec)
    return str(caught.value)


def voc(root: Path, **settings: Any) -> dict[str, Any]:
    return {"format": "voc", "path": str(root), **settings}


def yolo(root: Path, **settings: Any) -> dict[str, Any]:
    return {"format": "yolo", "path": str(root), **settings}


def named(split: Split) -> list[list[Box]]:
    """Return what a split holds, in the form of ``PICTURES``."""
    return [
        [
            (split.samples.classes[number], *(round(float(v), 3) for v in corners))
            for number, corners in zip(boxes.classes, boxes.xyxy, strict=True)
        ]
        for boxes in split.truth
    ]  # type: ignore[return-value]


def test_every_format_gives_the_same_boxes(tmp_path: Path) -> None:
    sources = (
        (voc(write_voc(tmp_path / "voc")), ["cell", "spot"]),
        (write_coco(tmp_path / "coco"), ["spot", "cell"]),
        (yolo(write_yolo(tmp_path / "yolo")), ["spot", "cell"]),
        (yolo(write_yolo(tmp_path / "other", "valid/images")), ["spot", "cell"]),
    )
    for source, classes in (*sources, (f"voc:{tmp_path / 'voc'}", sources[0][1])):
        split = validation(source)
        assert list(split.samples.classes) == classes, source
        assert named(split) == [FIRST, SECOND], source
        assert split.notes == (), source


def test_labels_are_boxes_of_the_letterboxed_input(tmp_path: Path) -> None:
    split = validation(voc(write_voc(tmp_path)))
    images, labels = split.batch([1, 0])
    assert images.shape == (2, 3, 32, 32)
    assert split.placement(0).size == (30, 40)
    assert (split.placement(0).scale_x, split.placement(0).top) == (0.8, 4)
    assert labels[1].xyxy[1].tolist() == [0, 4, 32, 28]
    assert labels[0].areas.tolist() == pytest.approx([10 * 0.64])
    assert [len(boxes) for _, labels in split.batches(1) for boxes in labels] == [2, 1]
    assert split.take([1]).labels[0].xyxy.tolist() == labels[0].xyxy.tolist()


def test_a_changed_box_changes_the_fingerprint(tmp_path: Path) -> None:
    prints = [
        validation(voc(write_voc(tmp_path / str(x), {"a": [("cell", 4, 3, x, 18)]}))).fingerprint
        for x in (20, 20, 21)
    ]
    assert prints[0] == prints[1] != prints[2]


def test_crowds_and_difficult_objects_are_ignored(tmp_path: Path) -> None:
    content = coco_content()
    content["annotations"][0]["iscrowd"] = 1
    split = validation(write_coco(tmp_path / "coco", content))
    assert split.truth[0].ignored.tolist() == [True, False]
    assert split.truth[0].areas.tolist() == [5.5, 6.5]
    root = write_voc(tmp_path / "voc")
    file = root / "Annotations" / "b.xml"
    hard = voc_object(("cell", 1, 1, 9, 9), "<difficult>1</difficult><pose>Left</pose>")
    file.write_text(file.read_text().replace("</annotation>", hard + "</annotation>"))
    assert validation(voc(root)).truth[1].ignored.tolist() == [False, True]


def test_detection_must_not_crop(tmp_path: Path) -> None:
    text = refusal(voc(write_voc(tmp_path)), InputSpec(shape=(3, 32, 32)))
    assert text.startswith("model.input: fit: crop may cut objects off")
    assert "letterbox" in text


BAD: Sequence[tuple[Box, str]] = (
    (("cell", 10, 10, 9, 12), "without area"),
    (("cell", 50, 5, 60, 9), "wholly outside the picture"),
    (("cell", 30, 5, 44, 9), "reaching out of the picture"),
    (("cell", float("nan"), 5, 30, 9), "not finite numbers"),
    (("cell", 3, 5, float("inf"), 9), "not finite numbers"),
)


@pytest.mark.parametrize(("box", "kind"), BAD)
def test_bad_boxes_are_refused_or_repaired(box: Box, kind: str, tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"a": FIRST, "b": [*SECOND, box]})
    text = refusal(voc(root))
    assert f"1 of 4 boxes are bad: 1 {kind} (b.xml:5)" in text
    assert "on_bad_boxes: repair" in text
    split = validation(voc(root, on_bad_boxes="repair"))
    assert split.notes == (f"data.validation: repaired, 1 of 4 boxes are bad: 1 {kind} (b.xml:5)",)
    cut = [("cell", 30, 5, 40, 9)] if "reaching" in kind else []
    assert named(split) == [FIRST, SECOND + cut]


def test_what_rounding_does_is_no_fault(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"a": [("cell", -0.5, 2, 40.9, 9)]})
    split = validation(voc(root))
    assert named(split) == [[("cell", 0, 2, 40, 9)]]
    assert split.notes == ()


def test_boxes_of_a_picture_that_was_resized_are_found(tmp_path: Path) -> None:
    root = write_voc(tmp_path)
    paint(root / "JPEGImages" / "b.png", 1, (80, 60))
    assert "1 drawn on a picture of another size than the file (b.xml:4)" in refusal(voc(root))


def test_classes_are_renamed_left_out_and_put_in_order(tmp_path: Path) -> None:
    source = voc(write_voc(tmp_path), classes=["spot", "blood"], class_map={"cell": "blood"})
    split = validation(source)
    assert list(split.samples.classes) == ["spot", "blood"]
    assert split.truth[1].classes.tolist() == [1]
    less = validation(voc(tmp_path, class_map={"spot": None, "spto": "x"}))
    assert list(less.samples.classes) == ["cell"]
    assert named(less) == [FIRST[:1], SECOND]
    assert less.notes == (
        "data.validation: class_map renames spto, which no annotation has",
        "data.validation: 1 boxes left out by class_map",
    )
    extra = validation(voc(tmp_path, classes=["cell", "spot", "dust"]))
    assert extra.notes == ("data.validation: no boxes of dust",)
    text = refusal(voc(tmp_path, classes=["cell", "spots"]))
    assert "a.xml:5: unknown class 'spot', allowed: cell, spots; did you mean 'spots'?" in text
    assert "class_map: {spot: null}" in text


def test_train_and_validation_must_mean_the_same_classes(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "one")
    write_voc(root, {"c": SECOND}, "train", seed=9)
    with pytest.raises(InputError, match=r"not in both: spot\n.*name them by 'classes' in both"):
        opened({"train": voc(root), "validation": voc(root)})
    both = voc(root, classes=["cell", "spot"])
    data = opened({"train": both, "validation": both})
    assert data.train is not None
    assert data.train.notes == ("data.train: no boxes of spot",)


def test_overlap_with_validation_is_refused(tmp_path: Path) -> None:
    root = write_voc(tmp_path)
    with pytest.raises(InputError, match=r"2 samples are also in data\.validation"):
        opened({"train": voc(root, image_set="val"), "validation": voc(root)})


def test_no_boxes_at_all(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"a": [], "b": []})
    text = refusal(voc(root))
    assert "data.validation: has 2 images and no boxes at all" in text
    other = voc(write_voc(tmp_path / "other", seed=5))
    data = opened({"validation": other, "calibration": voc(root, image_set="val")})
    assert data.calibration is not None
    assert len(data.calibration) == 2


def test_a_missing_image_is_refused_or_skipped(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "voc")
    (root / "JPEGImages" / "b.png").unlink()
    coco = write_coco(tmp_path / "coco")
    (tmp_path / "coco" / "images" / "b.png").unlink()
    lost = write_yolo(tmp_path / "yolo")
    (lost / "images" / "val" / "b.png").unlink()
    for source in (voc(root), coco, yolo(lost)):
        assert "1 of 2 images cannot be read: " in refusal(source)
        assert "no such file" in refusal(source)
        skipped = validation(source | {"on_corrupt": "skip"})
        assert named(skipped) == [FIRST]


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
            "b.xml:2: a corner of this object is no number",
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
    assert "unknown argument 'scene'" in refusal(source | {"args": {"scene": 3}}, spec)
    assert "args.side is 10" in refusal(source | {"args": {"side": 10}}, spec)


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
