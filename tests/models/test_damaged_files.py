"""Whatever stands in a file that a user hands in, what comes out is a sentence about it.

Valid files are changed at random, by fixed seeds, as hands, tools and disks change them.
"""

import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from squeeze.core.errors import InputError
from squeeze.core.types import Silent
from squeeze.data.sets import Opening, open_data
from squeeze.recipe.load import load_recipe
from squeeze.recipe.schema import DataBlock, InputSpec

SPEC = InputSpec(shape=(3, 16, 16), fit="stretch")
ROUNDS = 150

COCO = """{"images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30},
 {"id": 2, "file_name": "b.png"}],
 "categories": [{"id": 1, "name": "cell"}, {"id": 7, "name": "x"}],
 "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3.5, 4], "iscrowd": 0,
  "area": 12}, {"id": 2, "image_id": 2, "category_id": 7, "segmentation": [[1, 1, 9, 1, 9, 9]]},
 {"id": 3, "image_id": 2, "category_id": 7, "segmentation": {"size": [30, 40], "counts": [31, 5,
  1164]}}, {"id": 4, "image_id": 1, "category_id": 7, "segmentation": {"size": [5, 7],
  "counts": ";23000004"}}]}"""
VOC = """<annotation><filename>a.png</filename><size><width>40</width><height>30</height></size>
<object><name>cell</name><difficult>0</difficult><bndbox><xmin>3</xmin><ymin>4</ymin>
<xmax>20</xmax><ymax>18</ymax></bndbox></object></annotation>"""
DATA_YAML = """path: .
train: images/train  # as Ultralytics writes it
val: images/val
nc: 2
kpt_shape: [1, 3]
flip_idx: [0]
names:
  0: cell
  1: spot
made: 2024-01-31
"""
RECIPE = """version: 1
name: x
model: {build: "builtin:resnet8", input: {shape: [3, 16, 16], mean: [0.5], std: [0.5]}}
data:
  validation: {format: coco, path: images, annotations: boxes.json, classes: [cell, x]}
  calibration: {from: validation, samples: 16}
steps:
  - {method: prune, pruning_ratio: 0.5, finetune: {epochs: 3, lr: 3e-4}}
  - &step {method: quantize, scheme: static_int8}
targets: [{runtime: onnxruntime, batch_size: [1, 8]}]
gates: [{metric: top1, max_drop: 0.01}]
"""
ODD = (
    b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b"\xed\xa0\x80", b"9" * 400, b"-1", b"1e999", b"NaN",
    b"4294967296", b"9223372036854775808", b"null", b"true", b"[", b"{}", b'"', b"'", b"[[" * 3000,
    b"<a>" * 3000, b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b": ", b"\n- ", b"\t", b"\r", b"/",
    b"x" * 300, b"../", b"2024-13-45", b"!!python/name:os.system ", b"*step", b"&step ",
    b"<<: ", b"0",
)  # fmt: skip


def changed(content: bytes, rng: random.Random) -> bytes:
    """Return content after one to three random changes."""
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(content) + 1)
        end = min(len(content), start + rng.choice((0, 1, 2, 8, 40)))
        kind = rng.randrange(5)
        if kind == 0:
            content = content[:start] + rng.choice(ODD) + content[end:]
        elif kind == 1:
            content = content[:start]
        elif kind == 2:
            content = content[:start] + content[end:]
        elif kind == 3:
            content = content[:end] + content[start:]
        else:
            content = content[:start] + rng.randbytes(end - start) + content[end:]
    return content


def paint(*files: Path) -> None:
    for number, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)


def coco(root: Path) -> tuple[Path, dict[str, str]]:
    paint(root / "images" / "a.png", root / "images" / "b.png")
    (root / "boxes.json").write_text(COCO)
    file = root / "boxes.json"
    return file, {"format": "coco", "path": str(root / "images"), "annotations": str(file)}


def voc(root: Path) -> tuple[Path, dict[str, str]]:
    paint(root / "JPEGImages" / "a.png", root / "JPEGImages" / "b 2.png")
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for stem in ("a", "b 2"):
        (root / "Annotations" / f"{stem}.xml").write_text(VOC.replace("a.png", f"{stem}.png"))
    (root / "ImageSets" / "Main" / "val.txt").write_text("a\nb 2\n")
    return root / "Annotations" / "a.xml", {"format": "voc", "path": str(root)}


def voc_list(root: Path) -> tuple[Path, dict[str, str]]:
    return root / "ImageSets" / "Main" / "val.txt", voc(root)[1]


def yolo(root: Path) -> tuple[Path, dict[str, str]]:
    paint(root / "images" / "val" / "a.png", root / "images" / "val" / "b.png")
    (root / "labels" / "val").mkdir(parents=True)
    rows = "0 0.5 0.5 0.2 0.25\n1 0.3 0.3 0.125 0.2 0.3 0.3 2\n"
    for stem in "ab":
        (root / "labels" / "val" / f"{stem}.txt").write_text(rows)
    (root / "data.yaml").write_text(DATA_YAML)
    return root / "labels" / "val" / "a.txt", {"format": "yolo", "path": str(root)}


def yolo_yaml(root: Path) -> tuple[Path, dict[str, str]]:
    return root / "data.yaml", yolo(root)[1]


def yolo_names(root: Path) -> tuple[Path, dict[str, str]]:
    source = yolo(root)[1]
    (root / "data.yaml").unlink()
    for label in root.rglob("*.txt"):
        label.write_text("1 0.5 0.5 0.2 0.25\n")
    (root / "classes.txt").write_text("cell\nspot\n")
    return root / "classes.txt", source


def yolo_list(root: Path) -> tuple[Path, dict[str, str]]:
    source = yolo(root)[1]
    (root / "some.txt").write_text("images/val/a.png\n./images/val/b.png\n")
    return root / "some.txt", source | {"image_set": "some.txt"}


def idx(root: Path) -> tuple[Path, dict[str, str]]:
    pixels, labels = np.arange(6 * 256, dtype=np.uint8), np.array([0, 1] * 3, np.uint8)
    head = struct.pack(">4B3I", 0, 0, 8, 3, 6, 16, 16)
    (root / "t10k-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
    head = struct.pack(">4BI", 0, 0, 8, 1, 6)
    (root / "t10k-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    return root / "t10k-images-idx3-ubyte", {"format": "idx", "path": str(root)}


def picture(suffix: str) -> Callable[[Path], tuple[Path, dict[str, str]]]:
    def write(root: Path) -> tuple[Path, dict[str, str]]:
        files = [root / name / f"1{suffix}" for name in ("ant", "bee")]
        paint(*files)
        return files[0], {"format": "image_folder", "path": str(root)}

    return write


def opened(source: dict[str, str]) -> None:
    block = DataBlock.model_validate({"validation": source})
    split = open_data(
        block, Opening(Path(), SPEC, 0, Silent()), trains=True, calibrates=False
    ).validation
    split.batch(range(len(split)))


WRITERS = {
    "coco": coco,
    "voc xml": voc,
    "voc list": voc_list,
    "yolo rows": yolo,
    "yolo data.yaml": yolo_yaml,
    "yolo classes.txt": yolo_names,
    "yolo list": yolo_list,
    "idx": idx,
} | {
    suffix: picture(suffix) for suffix in (".png", ".jpg", ".gif", ".tif", ".webp", ".bmp", ".ppm")
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_damaged_data_file_gives_a_sentence(kind: str, tmp_path: Path) -> None:
    file, source = WRITERS[kind](tmp_path)
    opened(source)
    whole, rng = file.read_bytes(), random.Random(kind)
    told: list[InputError] = []
    for number in range(ROUNDS):
        damaged = changed(whole, rng)
        file.write_bytes(damaged)
        try:
            opened(source)
        except InputError as error:
            told.append(error)
        except Exception as error:
            raise AssertionError((number, damaged[:3000])) from error
    assert len(told) > ROUNDS / 20
    for sentence in map(str, told):
        assert sentence.replace("\n", "").isprintable()
        assert len(sentence) < 2000


def test_a_damaged_recipe_gives_places(tmp_path: Path) -> None:
    file, rng = tmp_path / "r.yaml", random.Random(0)
    file.write_text(RECIPE.replace("&step ", ""))
    load_recipe(file)
    told: list[str] = []
    for number in range(2 * ROUNDS):
        damaged = changed(RECIPE.encode(), rng)
        file.write_bytes(damaged)
        try:
            load_recipe(file)
        except InputError as error:
            told.append(str(error))
        except Exception as error:
            raise AssertionError((number, damaged[:3000])) from error
    assert len(told) > ROUNDS / 2
    # a mistake of two lines has its place in the first
    assert all(sentence.startswith(str(file)) for sentence in told)
