"""COCO and VOC files with odd values in them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from squeeze.core.errors import InputError
from squeeze.data.annotations import segments
from squeeze.data.formats.coco import samples as coco
from squeeze.data.formats.voc import samples as voc
from squeeze.recipe.schema import DataSource


def coco_samples(folder: Path, *, image: Any = None, category: Any = None, **entry: Any) -> Any:
    Image.new("RGB", (40, 30)).save(folder / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png"} | (image or {})],
        "categories": [{"id": 1, "name": "cell"} | (category or {})],
        "annotations": [{"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 20]} | entry],
    }
    (folder / "a.json").write_text(json.dumps(content))
    source = {"format": "coco", "path": ".", "annotations": "a.json"}
    return coco.open_samples(DataSource.model_validate(source), folder, "train")


@pytest.mark.parametrize(
    "size", [(-1, -1), (0, 0), (-1, 30), (None, None), ("40", 30), (40, 2**70)]
)
def test_unknown_sizes_are_read_from_the_picture(size: tuple[Any, Any], tmp_path: Path) -> None:
    found = coco_samples(tmp_path, image={"width": size[0], "height": size[1]})
    assert found.size(0) == (30, 40)
    assert found.label(0).xyxy.tolist() == [[1, 2, 31, 22]]


@pytest.mark.parametrize(
    ("value", "crowd"),
    [("0", False), (0, False), (None, False), ("1", True), (1, True), (True, True)],
)
def test_crowds_as_numbers_and_texts(value: Any, crowd: Any, tmp_path: Path) -> None:
    assert coco_samples(tmp_path, iscrowd=value).label(0).ignored.tolist() == [crowd]


HUGE = int("9" * 400)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"iscrowd": "maybe"}, "annotation 5 has iscrowd 'maybe', expected 0 or 1"),
        ({"iscrowd": []}, "annotation 5 has iscrowd [], expected 0 or 1"),
        ({"id": [5]}, "annotations[0] has id [5], expected a whole number"),
        ({"id": HUGE}, "annotations[0] has id inf, expected a whole number"),
        ({"id": True}, "annotations[0] has id True, expected a whole number"),
        ({"image_id": {"a": 1}}, "annotation 5 names image {'a': 1}, which 'images' lacks"),
        ({"category_id": [1]}, "annotation 5 names category [1], which 'categories' lacks"),
        ({"category_id": True}, "annotation 5 names category True, which 'categories' lacks"),
        ({"bbox": [1, 2, HUGE, 4]}, "1 of 1 boxes are bad: 1 not finite numbers (annotation 5)"),
        ({"bbox": [1, 2, 1e300, 4]}, "1 of 1 boxes are bad: 1 not finite numbers (annotation 5)"),
        ({"bbox": ["x" * 999] * 4}, "annotation 5 has bbox ['xxx"),
        ({"image": {"id": [1]}}, "images[0] has id [1], expected a whole number"),
        ({"image": {"file_name": {}}}, "image 1 has file_name {}, expected a text"),
        ({"category": {"name": ["cell"]}}, "category 1 has name ['cell'], expected a text"),
    ],
)
def test_coco_values_of_another_kind(change: Any, text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        coco_samples(tmp_path, **change)
    assert text in str(caught.value)
    assert len(str(caught.value)) < 600


def test_an_area_of_nobody_is_the_boxs(tmp_path: Path) -> None:
    for area in (HUGE, -1, "9", None, float("inf")):
        assert coco_samples(tmp_path, area=area).label(0).areas.tolist() == [600]


@pytest.mark.parametrize("seed", range(20))
def test_runs_give_what_pycocotools_gives(seed: int) -> None:
    from pycocotools import mask

    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 40)), int(rng.integers(1, 40)))
    inside = np.asfortranarray(rng.random(shape) < rng.choice([0.02, 0.5, 0.98]), np.uint8)
    packed = mask.encode(inside)
    flat = inside.flatten("F").astype(int)
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *([0] if flat[0] else []), *ends, flat.size]).tolist()
    left, top, width, height = mask.toBbox(packed).tolist()
    expected = ((left, top, left + width, top + height), float(inside.sum()))
    for runs in (counts, packed["counts"].decode()):
        found = segments.around({"size": list(shape), "counts": runs})
        assert found == (expected if inside.any() else None)


@pytest.mark.parametrize(
    "runs",
    [
        {"size": [2**31, 2**31], "counts": [2**31, 2**62 - 2**31]},
        {"size": [30, 40], "counts": [2**31, 5]},
        {"size": [30, 40], "counts": [1195, 2**63]},
        {"size": [30, 40], "counts": [-1, 1201]},
        {"size": [-30, -40], "counts": [1195, 5]},
        {"size": [30, 40], "counts": "o" * 5000},
        {"size": [30, 40], "counts": "\u00e9\u4e00"},
        {"size": [2**31, 2**31], "counts": "oooooo1"},
        [[1, 2, float("nan"), 4, 5, 6]],
        [[1e400, 2, 3, 4, 5, 6]],
    ],
)
def test_runs_of_billions_take_no_memory(runs: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="annotation 5 has no 'bbox', and no 'segmentation'"):
        coco_samples(tmp_path, bbox=None, segmentation=runs)


def test_large_runs_are_measured_without_pixels() -> None:
    side = 2**20
    runs = {"size": [side, side], "counts": [side * 7 + 3, 5, side * side - side * 7 - 8]}
    assert segments.around(runs) == ((7, 3, 8, 8), 5)


OBJECT = (
    "<object><name>cell</name><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>20</xmax>"
    "<ymax>18</ymax></bndbox></object>"
)


def voc_samples(folder: Path, listing: bytes | None = None, xml: str = OBJECT) -> Any:
    for stem in ("a", "my cell 1", "my cell"):
        (folder / "JPEGImages").mkdir(exist_ok=True)
        (folder / "Annotations").mkdir(exist_ok=True)
        Image.new("RGB", (40, 30)).save(folder / "JPEGImages" / f"{stem}.png")
        text = f"<annotation>\n{xml}</annotation>"
        (folder / "Annotations" / f"{stem}.xml").write_text(text)
    if listing is not None:
        (folder / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        (folder / "ImageSets" / "Main" / "val.txt").write_bytes(listing)
    source = DataSource.model_validate({"format": "voc", "path": "."})
    return voc.open_samples(source, folder, "validation")


def test_names_with_spaces_in_a_list(tmp_path: Path) -> None:
    found = voc_samples(tmp_path, b"my cell\nmy cell 1\na -1\n")
    assert [Path(found.name(n)).stem for n in range(3)] == ["my cell", "my cell 1", "a"]
    (tmp_path / "Annotations" / "my cell 1.xml").unlink()
    found = voc_samples(tmp_path, b"\xef\xbb\xbfmy cell  1\r\na\r\n")
    assert [Path(found.name(n)).stem for n in range(2)] == ["my cell", "a"]


@pytest.mark.parametrize(
    ("listing", "text"),
    [
        (b"a\n\xe9\n", "val.txt:2: is not UTF-8 text"),
        (b"a\n" + b"x" * 300, "val.txt:2: has no annotation of the image 'xxx"),
        (b"a\n\nb c\n", "val.txt:3: has no annotation of the image 'b c'"),
        (b"a\nmy cell\na 1\n", "val.txt: lists 'a' more than once"),
    ],
)
def test_lists_that_do_not_add_up(listing: bytes, text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        voc_samples(tmp_path, listing)
    assert text in str(caught.value)


def test_hidden_annotations_are_no_annotations(tmp_path: Path) -> None:
    assert len(voc_samples(tmp_path)) == 3
    (tmp_path / "Annotations" / "._a.xml").write_bytes(b"\0\1")
    (tmp_path / "JPEGImages" / "._a.png").write_bytes(b"\0\1")
    found = voc_samples(tmp_path)
    assert len(found) == 3
    assert found.notes == ("1 hidden files and folders were skipped",)


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        ("<a>" * 200_000, "a.xml:2: nests elements more than 100 deep"),
        (OBJECT.replace("<bndbox>", "<difficult>x</difficult><bndbox>"), "has difficult 'x'"),
        (OBJECT.replace(">20<", f">{'9' * 400}<"), "not finite numbers (a.xml:2"),
        (OBJECT.replace(">20<", ">" + "x" * 999 + "<"), "a corner of this object is not a number"),
        ("&lol;" * 1000, "is broken XML: undefined entity"),
        (f"<size><width>{'9' * 5000}</width><height>3</height></size>", ""),
    ],
)
def test_xml_of_attackers(xml: str, text: str, tmp_path: Path) -> None:
    if not text:
        assert voc_samples(tmp_path, xml=xml).size(0) == (30, 40)
        return
    with pytest.raises(InputError) as caught:
        voc_samples(tmp_path, xml=xml)
    assert text in str(caught.value)
    assert len(str(caught.value)) < 900
