"""What YOLO's label files and ``data.yaml`` mean."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from squeeze.core.errors import InputError
from squeeze.data.formats.yolo import samples as yolo
from squeeze.recipe.schema import DataSource

BOX = [10, 7.5, 30, 22.5]  # 0.5 0.5 0.5 0.5 in 40 x 30


def paint(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30)).save(file)


def labelled(image: Path, text: str) -> None:
    paint(image)
    label = Path(*("labels" if part == "images" else part for part in image.parts))
    label = label.with_suffix(".txt")
    label.parent.mkdir(parents=True, exist_ok=True)
    label.write_text(text)


def opened(root: Path, split: str = "validation", **settings: Any) -> Any:
    source = DataSource.model_validate({"format": "yolo", "path": str(root), **settings})
    return yolo.open_samples(source, Path(), split)


def refusal(root: Path, **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        opened(root, **settings)
    return str(caught.value)


@pytest.mark.parametrize(
    ("shape", "points"),
    [
        ("[1, 2]", "0.1 0.9"),  # 7 columns, as many as a triangle
        ("[2, 2]", "0.1 0.9 0.2 0.8"),
        ("[1, 3]", "0.1 0.9 2"),
        ("[17, 3]", "0.1 0.9 2 " * 17),
        ("[4, 3]", "0 0 0 " * 4),  # 17 columns: an odd number, like outlines
    ],
)
def test_key_points_leave_the_box_alone(shape: str, points: str, tmp_path: Path) -> None:
    labelled(tmp_path / "images" / "val" / "a.png", f"0 0.5 0.5 0.5 0.5 {points}\n")
    (tmp_path / "data.yaml").write_text(f"names: [person]\nkpt_shape: {shape}\n")
    assert opened(tmp_path).label(0).xyxy.tolist() == [BOX]
    labelled(tmp_path / "images" / "val" / "a.png", f"0 0.5 0.5 0.5 0.5 {points} 0.5\n")
    assert "numbers of key points after it (kpt_shape in data.yaml)" in refusal(tmp_path)


@pytest.mark.parametrize("row", ["0 0.5 0.5 0.2 0.2 0.9", "0 .1 .1 .2 .2 .3 .3 .4"])
def test_rows_with_a_confidence_are_no_outlines(row: str, tmp_path: Path) -> None:
    labelled(tmp_path / "images" / "val" / "a.png", row)
    assert f"it has {len(row.split())} columns" in refusal(tmp_path)


def test_a_triangle_or_a_box_with_confidence_and_track(tmp_path: Path) -> None:
    image = tmp_path / "images" / "val" / "a.png"
    labelled(image, "0 0.25 0.25 0.5 0.25 0.5 0.75\n")
    assert opened(tmp_path).label(0).xyxy.tolist() == [[10, 7.5, 20, 22.5]]
    for track in ("1", "2", "1.0"):
        labelled(image, f"0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2 0.9 {track}\n")
        assert "a.txt:2: has 7 columns: a box with two more numbers" in refusal(tmp_path)
    labelled(image, "0 0.25 0.25 0.5 0.25 0.5 1\n0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2\n")
    assert opened(tmp_path).label(0).xyxy[0].tolist() == [10, 7.5, 20, 30]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("names: [a, b]", ["a", "b"]),
        ("names: {0: a, 1: b}\nnc: 2", ["a", "b"]),
        ("names: {1: b, 0: a}", ["a", "b"]),
        ('names: {"0": a, "1": b}', ["a", "b"]),
        ("names: [7, no]", ["7", "no"]),
        ("names: {0: a, 2: b}", ":1:1: names the classes 0, 2, but not 1"),
        ("x: 1\nnames: {0: a, x: b}", ":2:1: has names by keys that are no class numbers"),
        ("names: a b", ":1:1: has names 'a b', expected a list"),
        ("names: [a, [b]]", ":1:1: has no text as name of class 1"),
        ("names: [a, a]", ":1:1: names two classes 'a'"),
        ("names: [a, b]\nnc: 3", ":2:1: has nc: 3 and 2 names"),
        ("made: 2024-13-45\nnames: [a, b]", ["a", "b"]),
        ("names: [a, b", ":1:13: is not YAML"),
        ("x: " + "[" * 5000, ":1:103: is not YAML: nested too deeply"),
        ("names: !!python/name:os.system x", ":1:8: found the tag"),
        ("nc: 2", ":1:1: has no 'names'"),
        ("names: [a, b]\nkpt_shape: [17]", ":2:1: has kpt_shape [17], expected [count, 2]"),
    ],
)
@pytest.mark.parametrize("name", ["data.yaml", "data.yml"])
def test_names_in_yaml(text: str, expected: Any, name: str, tmp_path: Path) -> None:
    labelled(tmp_path / "images" / "val" / "a.png", "1 0.5 0.5 0.5 0.5")
    (tmp_path / name).write_text(text)
    if isinstance(expected, list):
        assert list(opened(tmp_path).classes) == expected
    else:
        assert f"{tmp_path / name}{expected}" in refusal(tmp_path)


def test_names_in_text_files(tmp_path: Path) -> None:
    labelled(tmp_path / "images" / "val" / "a.png", "1 0.5 0.5 0.5 0.5")
    file = tmp_path / "classes.txt"
    file.write_bytes("\ufeffcat\r\nsmall dog\r\n\r\n".encode())
    assert list(opened(tmp_path).classes) == ["cat", "small dog"]
    for content, text in (
        (b"cat\n\ndog\n", "classes.txt:2: is blank, expected a class name"),
        (b"cat\ncat\n", "classes.txt: names two classes 'cat'"),
        (b"cat\nm\xfcnze\n", "classes.txt:2: is not UTF-8 text"),
    ):
        file.write_bytes(content)
        assert text in refusal(tmp_path)


def test_names_of_the_files_are_put_in_the_order_of_the_recipe(tmp_path: Path) -> None:
    labelled(tmp_path / "images" / "val" / "a.png", "1 0.5 0.5 0.5 0.5")
    assert opened(tmp_path, classes=["x", "y"]).label(0).classes.tolist() == [1]
    (tmp_path / "data.yaml").write_text("names: [cat, dog]")
    found = opened(tmp_path, classes=["ant", "dog", "cow", "cat"])
    assert found.classes[found.label(0).classes[0]] == "dog"
    assert "unknown class 'dog', allowed: cat, cow" in refusal(tmp_path, classes=["cat", "cow"])


def found_in(samples: Any) -> list[str]:
    return sorted(str(Path(samples.name(n)).name) for n in range(len(samples)))


def test_what_data_yaml_names_is_read(tmp_path: Path) -> None:
    root, other = tmp_path / "set", tmp_path / "other"
    labelled(root / "images" / "val" / "wrong.png", "0 0.5 0.5 0.5 0.5")
    labelled(other / "images" / "night" / "a.png", "0 0.5 0.5 0.5 0.5")
    labelled(other / "day" / "images" / "b.png", "0 0.5 0.5 0.5 0.5")
    labelled(other / "day" / "images" / "c.png", "")
    (other / "some.txt").write_text("./day/images/c.png\nimages/night/a.png\n")
    yaml = root / "data.yaml"
    for path, val, expected in (
        ("../other", "images/night", ["a.png"]),
        (str(other), "day", ["b.png", "c.png"]),
        (str(other), "[images/night, day/images]", ["a.png", "b.png", "c.png"]),
        ("../other", "some.txt", ["a.png", "c.png"]),
        ("../other", "../images/night", ["a.png"]),  # as Roboflow writes it
    ):
        yaml.write_text(f"path: {path}\nval: {val}\nnames: [cell]\n")
        samples = opened(root)
        assert found_in(samples) == expected
        boxes = [samples.label(n).xyxy.tolist() for n in range(len(samples))]
        assert [BOX] in boxes
        assert boxes.count([]) == expected.count("c.png")
        assert samples.notes == ()
        assert found_in(opened(yaml)) == expected
    yaml.write_text("path: ../other\nval: images/dawn\nnames: [cell]\n")
    assert f"{yaml}:2:1: names 'images/dawn' as val, and there is no " in refusal(root)
    yaml.write_text("path: /nowhere/else\nval: images/val\nnames: [cell]\n")
    samples = opened(root)
    assert found_in(samples) == ["wrong.png"]
    assert samples.notes == (
        "data.yaml names the folder /nowhere/else, which is not there: paths start from its own",
    )
    yaml.write_text("train: images/val\nval: [1]\nnames: [cell]\n")
    assert found_in(opened(root, "train")) == ["wrong.png"]
    assert f"{yaml}:2:1: has val: 1, expected a folder or list" in refusal(root)


def test_lists_of_images(tmp_path: Path) -> None:
    labelled(tmp_path / "images" / "a b.png", "0 0.5 0.5 0.5 0.5")
    listing = tmp_path / "val.txt"
    for content, text in (
        (b"images/a b.png\nimages/a b.png\n", "lists 'images/a b.png' more than once"),
        (b"images/\xe4.png\n", "val.txt:1: is not UTF-8 text"),
        (b"images\n", "val.txt:1: found 'images', expected an image"),
        (b"/\n", "val.txt:1: found '/', expected an image"),
    ):
        listing.write_bytes(content)
        assert text in refusal(tmp_path, image_set="val.txt")
    listing.write_text("\ufeffimages/a b.png\n" + "x" * 300 + ".png\n")
    samples = opened(tmp_path, image_set="val.txt")
    assert samples.label(0).xyxy.tolist() == [BOX]
    with pytest.raises(InputError, match="File name too long"):
        samples.digest(1)


def test_links_are_followed_and_hidden_files_are_not(tmp_path: Path) -> None:
    labelled(tmp_path / "else" / "images" / "a.png", "0 0.5 0.5 0.5 0.5")
    for part in ("images", "labels"):
        (tmp_path / "set" / part).mkdir(parents=True)
        (tmp_path / "set" / part / "val").symlink_to(tmp_path / "else" / part)
    paint(tmp_path / "else" / "images" / "._a.png")
    (tmp_path / "else" / "images" / "b.heic").touch()
    samples = opened(tmp_path / "set")
    assert found_in(samples) == ["a.png"]
    assert samples.notes == (
        "1 files are not images of a kind that is read (.heic 1)",
        "1 hidden files and folders were skipped",
    )


@pytest.mark.parametrize("number", ["1e300", "9" * 400, "100000", "nan", "inf", "1.5", "-1"])
def test_class_numbers_of_nobody(number: str, tmp_path: Path) -> None:
    labelled(tmp_path / "images" / "val" / "a.png", f"0 0.5 0.5 0.5 0.5\n{number} 0.5 0.5 0.5 0.5")
    assert "a.txt:2: found " in refusal(tmp_path)


@pytest.mark.parametrize(
    ("described", "image", "label"),
    [
        ("images/signs", "images/signs/val/a.png", "images/signs/val/a.txt"),
        ("images/signs", "images/signs/val/images/a.png", "images/signs/val/labels/a.txt"),
        ("images", "images/val/a.png", "labels/val/a.txt"),
    ],
)
def test_labels_are_found_below_a_folder_called_images(
    described: str, image: str, label: str, tmp_path: Path
) -> None:
    paint(tmp_path / image)
    (tmp_path / label).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / label).write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / described / "data.yaml").write_text("names: [sign]\nval: val\n")
    assert opened(tmp_path / described).label(0).xyxy.tolist() == [BOX]
