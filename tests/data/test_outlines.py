"""Annotations that have an outline and no box of their own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from squeeze.core.errors import InputError
from squeeze.data.formats.coco import samples as coco
from squeeze.data.formats.yolo import samples as yolo
from squeeze.recipe.schema import DataSource

HEIGHT, WIDTH = 30, 40
TRIANGLE = [4, 3, 20, 3, 12, 18]
SECOND = [30.5, 20, 31, 20, 31, 22.5, 30.5, 22.5]


def runs(left: int, top: int, right: int, bottom: int) -> list[int]:
    """Return COCO's runs of a filled box, column by column."""
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[top:bottom, left:right] = True
    flat = inside.flatten("F")
    ends = np.flatnonzero(np.diff(flat.astype(int))) + 1
    return [int(n) for n in np.diff([0, *ends, flat.size])]


def coco_samples(folder: Path, **annotation: Any) -> Any:
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [{"id": 5, "image_id": 1, "category_id": 1} | annotation],
    }
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "a.png")
    (folder / "a.json").write_text(json.dumps(content))
    source = {"format": "coco", "path": ".", "annotations": "a.json"}
    return coco.open_samples(DataSource.model_validate(source), folder, "train")


@pytest.mark.parametrize(
    ("segmentation", "box", "area"),
    [
        ([TRIANGLE], [4, 3, 20, 18], 16 * 15 / 2),
        ([TRIANGLE, SECOND], [4, 3, 31, 22.5], 16 * 15 / 2 + 0.5 * 2.5),
        ({"size": [HEIGHT, WIDTH], "counts": runs(3, 5, 10, 7)}, [3, 5, 10, 7], 14),
        # rows 1 and 2 of columns 2 to 5 in 5 x 7 pixels, packed by pycocotools' rule
        ({"size": [5, 7], "counts": ";23000004"}, [2, 1, 6, 3], 8),
    ],
)
def test_coco_boxes_are_drawn_around_outlines(
    segmentation: Any, box: list[float], area: float, tmp_path: Path
) -> None:
    found = coco_samples(tmp_path, segmentation=segmentation)
    assert found.label(0).xyxy.tolist() == [box]
    assert found.label(0).areas.tolist() == pytest.approx([area])
    assert found.notes == ("1 annotations without a box have the one around their outline",)
    given = coco_samples(tmp_path, segmentation=segmentation, area=3, bbox=[0, 0, 9, 9])
    assert given.label(0).xyxy.tolist() == [[0, 0, 9, 9]]
    assert given.label(0).areas.tolist() == [3]
    assert given.notes == ()


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        [[1, 2, 3, 4]],
        [["a"] * 6],
        {"size": [HEIGHT, WIDTH], "counts": [5, 5]},
        {"size": [5, 7], "counts": "zz"},
        {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]},
        {"counts": [1]},
    ],
)
def test_neither_box_nor_outline(segmentation: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"annotation 5 has no 'bbox', and no 'segmentation'"):
        coco_samples(tmp_path, segmentation=segmentation)


def test_yolo_boxes_are_drawn_around_outlines(tmp_path: Path) -> None:
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "images" / "a.png")
    label = tmp_path / "labels" / "a.txt"
    label.write_text("0 0.1 0.1 0.5 0.1 0.3 0.6\n0 0.5 0.5 0.5 0.5\n")
    source = DataSource.model_validate({"format": "yolo", "path": ".", "classes": ["cell"]})
    found = yolo.open_samples(source, tmp_path, "train")
    expected = [[4, 3, 20, 18], [10, 7.5, 30, 22.5]]
    assert np.allclose(found.label(0).xyxy, expected, atol=1e-5)
    assert found.notes == ("1 outlines have the box around them",)
    label.write_text("0 0.1 0.1 0.5 0.1 0.3\n")
    with pytest.raises(InputError, match="expected a class number and four"):
        yolo.open_samples(source, tmp_path, "train")
