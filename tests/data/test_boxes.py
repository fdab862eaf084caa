"""Detection data means the same in every format, and what makes it unusable."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from support.box_folders import (
    FIRST,
    SECOND,
    Box,
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

from squeeze.core.errors import InputError
from squeeze.recipe.schema import InputSpec


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
