"""The same two annotated pictures in every format, and how they are opened."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from squeeze.core.errors import InputError
from squeeze.core.types import Silent
from squeeze.data.sets import Data, Opening, open_data
from squeeze.data.splits import Split
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
