"""Pictures that EXIF data turns, and the boxes in them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from squeeze.core.errors import InputError
from squeeze.data import image_files
from squeeze.data.formats.coco import samples as coco
from squeeze.recipe.schema import DataSource

ORIENTATION = 0x0112
# how what is stored came from the upright picture, by EXIF's definition: which side of the picture
# row 0 and column 0 are
STORED: dict[int, Any] = {
    1: lambda shown: shown,  # top, left
    2: lambda shown: shown[:, ::-1],  # top, right
    3: lambda shown: shown[::-1, ::-1],  # bottom, right
    4: lambda shown: shown[::-1],  # bottom, left
    5: lambda shown: shown.transpose(1, 0, 2),  # left, top
    6: lambda shown: shown.transpose(1, 0, 2)[::-1],  # right, top
    7: lambda shown: shown.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
    8: lambda shown: shown.transpose(1, 0, 2)[:, ::-1],  # left, bottom
}
BOX = (4, 3, 12, 8)


def shown() -> Any:
    """Return a picture 20 wide and 30 high: black, but for a white box."""
    pixels = np.zeros((30, 20, 3), np.uint8)
    pixels[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 255
    return pixels


def bounds(pixels: Any) -> list[int]:
    rows, columns = (np.flatnonzero(pixels[..., 0].any(axis)) for axis in (1, 0))
    return [int(n) for n in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)]


def written(folder: Path, turn: int) -> Path:
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    file = folder / "a.png"
    Image.fromarray(np.ascontiguousarray(STORED[turn](shown()))).save(file, exif=exif)
    return file


@pytest.mark.parametrize("turn", STORED)
def test_pictures_and_boxes_are_turned_upright(turn: int, tmp_path: Path) -> None:
    file = written(tmp_path, turn)
    assert image_files.size(file) == (30, 20)
    assert np.array_equal(np.asarray(image_files.decode(file)), shown())
    stored = np.array([bounds(STORED[turn](shown()))], np.float64)
    assert image_files.upright(file, stored).tolist() == [list(BOX)]


def samples(folder: Path, box: Any, size: tuple[int, int]) -> Any:
    x1, y1, x2, y2 = box
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": size[0], "width": size[1]}],
        "categories": [{"id": 1, "name": "white"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        ],
    }
    (folder / "boxes.json").write_text(json.dumps(content))
    source = {"format": "coco", "path": ".", "annotations": "boxes.json"}
    return coco.open_samples(DataSource.model_validate(source), folder, "train")


@pytest.mark.parametrize("turn", [1, 6, 8])
def test_boxes_fit_the_picture_that_they_were_drawn_on(turn: int, tmp_path: Path) -> None:
    written(tmp_path, turn)
    stored = STORED[turn](shown())
    for pixels in (stored, shown()):  # drawn on what is stored, or on what viewers show
        found = samples(tmp_path, bounds(pixels), pixels.shape[:2])
        assert found.label(0).xyxy.tolist() == [list(BOX)]
        assert found.size(0) == (30, 20)


def test_a_picture_that_nothing_turns_does_not_fit_the_other_size(tmp_path: Path) -> None:
    written(tmp_path, 1)
    with pytest.raises(InputError, match="drawn on a picture of another size"):
        samples(tmp_path, BOX, (20, 30))


def test_damaged_exif_data_turns_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    Image.fromarray(shown()).save(file, exif=b"Exif\x00\x00not a TIFF header")
    assert image_files.size(file) == (30, 20)
    assert np.asarray(image_files.decode(file)).shape == (30, 20, 3)
