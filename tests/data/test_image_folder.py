"""Folders of classes: what is read, and what is told about the rest."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from squeeze.core.errors import InputError
from squeeze.core.types import Silent
from squeeze.data.sets import Opening, open_data
from squeeze.data.splits import Split
from squeeze.recipe.schema import DataBlock, InputSpec

SPEC = InputSpec(shape=(3, 16, 16))


def opened(root: Path) -> Split:
    block = DataBlock.model_validate({"validation": str(root)})
    opening = Opening(Path(), SPEC, 0, Silent())
    return open_data(block, opening, trains=True, calibrates=False).validation


def refusal(root: Path) -> str:
    with pytest.raises(InputError) as caught:
        opened(root)
    return str(caught.value)


def names(split: Split, root: Path) -> list[str]:
    return [str(Path(split.name(p)).relative_to(root)) for p in range(len(split))]


def test_links_are_followed_as_torchvision_does(picture_folder: Path, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    elsewhere = tmp_path / "elsewhere"
    for name, colour in (("more", "red"), ("dog", "green")):
        (elsewhere / name / "deep").mkdir(parents=True)
        Image.new("RGB", (9, 9), colour).save(elsewhere / name / "deep" / "a.png")
    (picture_folder / "ant" / "linked").symlink_to(elsewhere / "more")
    (picture_folder / "dog").symlink_to(elsewhere / "dog")
    (picture_folder / "bee" / "z.png").symlink_to(elsewhere / "dog" / "deep" / "a.png")
    split = opened(picture_folder)
    expected = sorted(ImageFolder(picture_folder).samples)
    found = zip(names(split, Path("/")), split.labels.tolist(), strict=True)
    assert [(f"/{name}", label) for name, label in found] == expected
    assert list(split.samples.classes) == ["ant", "bee", "cat", "dog"]
    assert split.notes == ()


def test_links_back_up_end(picture_folder: Path) -> None:
    (picture_folder / "ant" / "again").symlink_to(picture_folder)
    (picture_folder / "bee" / "self").symlink_to(picture_folder / "bee")
    split = opened(picture_folder)
    # below ant/again stand the other classes, as in any folder inside of a class
    assert len(split) == 12 + 8
    assert "3 links lead back to a folder above" in split.notes[0]


def test_what_is_not_read_is_told(picture_folder: Path) -> None:
    ant = picture_folder / "ant"
    (ant / ".thumbs").mkdir()
    shutil.copy(ant / "0.png", ant / ".thumbs" / "0.png")
    shutil.copy(ant / "0.png", ant / "._0.png")
    (ant / "a.heic").write_bytes(b"0")
    (ant / "b.HEIC").write_bytes(b"0")
    (ant / "notes.txt").write_text("x")
    (ant / ".DS_Store").write_text("x")
    (picture_folder / "dog").mkdir()
    shutil.copy(ant / "0.png", picture_folder / "beside.png")
    split = opened(picture_folder)
    assert len(split) == 12
    assert split.notes == (
        "data.validation: 1 images lie beside the class folders, unread",
        "data.validation: 3 files are not images of a kind that is read (.heic 2, .txt 1)",
        "data.validation: 2 hidden files and folders were skipped",
        "data.validation: no images of dog",
    )


def test_jfif_and_avif_are_read(picture_folder: Path) -> None:
    from PIL import features

    picture = Image.open(picture_folder / "ant" / "0.png")
    picture.save(picture_folder / "ant" / "a.jfif", "JPEG")
    picture.save(picture_folder / "ant" / "b.JPE", "JPEG")
    if features.check("avif"):
        picture.save(picture_folder / "ant" / "c.avif")
    split = opened(picture_folder)
    assert len(split) == 14 + features.check("avif")
    split.batch(range(len(split)))


def test_sets_in_the_place_of_classes_are_refused(picture_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "sets"
    for name in ("train", "val"):
        shutil.copytree(picture_folder, root / name)
    text = refusal(root)
    assert "holds sets (train, val), not classes" in text
    assert f"name one of them: path: {root / 'train'}" in text
    (root / "labels").mkdir()
    shutil.copy(root / "train" / "ant" / "0.png", root / "labels")
    assert "holds sets (train, val), not classes" in refusal(root)
    assert len(opened(root / "train")) == 12
    (picture_folder / "ant").rename(picture_folder / "train")  # a railway's
    assert list(opened(picture_folder).samples.classes) == ["bee", "cat", "train"]


def test_nothing_to_read_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "a.heic").touch()
    text = refusal(tmp_path)
    assert "has 1 class folders but no images in them, only other files (.heic 1)" in text
    assert ".jpg" in text
    Image.new("RGB", (9, 9)).save(tmp_path / "ant" / "b.png")
    assert "has no sub-folders, and 1 images lie in it" in refusal(tmp_path / "ant")
    assert "no such folder" in refusal(tmp_path / "none")
    assert "cannot be read: File name too long" in refusal(tmp_path / ("x" * 5000))
