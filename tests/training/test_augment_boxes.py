"""Boxes stay on their objects, whatever is done to the pixels."""

from typing import Any

import numpy as np
import pytest
import torch

from squeeze.core.boxes import Boxes
from squeeze.core.errors import InputError
from squeeze.data.sets import Data
from squeeze.data.splits import Split
from squeeze.recipe.schema import Augment, InputSpec, TrainSettings
from squeeze.training.augment_boxes import BoxBatchBuilder, Scene, builder_of, fitted, joined, moved
from squeeze.training.batches import BatchSpec, Loader, Plan
from squeeze.training.preview import contact_sheet, label_text

SPEC = InputSpec(shape=(3, 64, 96), fit="letterbox")
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)


class Rectangles:
    """Pictures of plain rectangles on black; the class is the colour."""

    classes = ("red", "green", "blue")

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        self.pictures, self.boxes = [], []
        for _ in range(count):
            pixels = np.zeros((100, 80, 3), np.uint8)
            boxes, labels = [], rng.permutation(3)
            for row, label in enumerate(labels):  # one below the other, none over another
                x, y = int(rng.integers(0, 40)), 33 * row + int(rng.integers(0, 10))
                wide, tall = int(rng.integers(16, 38)), int(rng.integers(12, 22))
                pixels[y : y + tall, x : x + wide] = COLOURS[label]
                boxes.append((x, y, x + wide, y + tall))
            self.pictures.append(pixels)
            self.boxes.append(Boxes.of(boxes, labels))

    def __len__(self) -> int:
        return len(self.pictures)

    def name(self, index: int) -> str:
        return f"rectangles[{index}]"

    def label(self, index: int) -> Boxes:
        return self.boxes[index]

    def size(self, index: int) -> tuple[int, int]:
        return self.pictures[index].shape[:2]

    def picture(self, index: int) -> Any:
        return self.pictures[index]

    def digest(self, index: int) -> bytes:
        return bytes([index])


@pytest.fixture(scope="module")
def split() -> Split:
    samples = Rectangles(12)
    return Split(samples, range(12), [bytes([i]) for i in range(12)], SPEC, keep=True)


def drawn(split: Split, augment: Augment, seed: int = 0) -> tuple[torch.Tensor, list[Boxes]]:
    settings = TrainSettings(epochs=1, batch_size=12, augment=augment)
    (draw,) = Plan(split.labels, settings, np.random.default_rng(seed))
    images, labels = builder_of(split, augment)[draw]
    return images, labels


def ink(image: torch.Tensor, label: int) -> np.ndarray[Any, Any]:
    """Return where the image has this colour and not the others."""
    channels = image.numpy()
    others = [c for c in range(3) if c != label]
    return (channels[label] > 0.6) & (channels[others].max(0) < 0.4)


@pytest.mark.parametrize(
    "augment",
    [
        Augment(),
        Augment(flip=True),
        Augment(vertical_flip=True),
        Augment(scale_jitter=(0.6, 1.6)),
        Augment(scale_jitter=(1.0, 1.0)),
        Augment(iou_crop=1.0),
        Augment(zoom_out=1.0),
        Augment(mosaic=1.0),
        Augment(flip=True, scale_jitter=(0.7, 1.3), iou_crop=0.5, zoom_out=0.5, mosaic=0.3),
    ],
    ids=lambda a: "-".join(sorted(a.model_fields_set)) or "none",
)
def test_boxes_hold_their_colour_and_nothing_else_does(split: Split, augment: Augment) -> None:
    found = 0
    for seed in range(3):
        images, labels = drawn(split, augment, seed)
        assert images.shape == (12, 3, 64, 96)
        for image, boxes in zip(images, labels, strict=True):
            assert (boxes.xyxy >= -1e-3).all()
            assert (boxes.xyxy <= np.array([96, 64, 96, 64]) + 1e-3).all()
            seen = np.zeros((3, 64, 96), bool)
            for (x1, y1, x2, y2), label in zip(boxes.xyxy, boxes.classes, strict=True):
                inside = ink(image, label)[
                    int(np.ceil(y1)) + 1 : int(y2) - 1, int(np.ceil(x1)) + 1 : int(x2) - 1
                ]
                assert inside.all(), (augment, boxes)
                seen[
                    label, max(int(y1) - 1, 0) : int(y2) + 2, max(int(x1) - 1, 0) : int(x2) + 2
                ] = True
                found += 1
            # what is outside of all boxes is only what was too little to keep a box for
            rest = sum((ink(image, label) & ~seen[label]).sum() for label in range(3))
            assert rest <= 0.05 * 64 * 96
    assert found > 36


def test_without_augmentation_it_is_the_splits_own_batch(split: Split) -> None:
    images, labels = BoxBatchBuilder(split, Augment())[BatchSpec(np.array([3, 1]))]
    array, boxes = split.batch([3, 1])
    assert (images.numpy() == array).all()
    assert [b.xyxy.tolist() for b in labels] == [b.xyxy.tolist() for b in boxes]


def test_mirrored_boxes_come_from_the_other_side(split: Split) -> None:
    draw = BatchSpec(np.array([0, 1]), mirrored=np.array([True, False]))
    _, labels = BoxBatchBuilder(split, Augment(flip=True))[draw]
    plain = split.labels[0].xyxy
    other_side = np.stack([96 - plain[:, 2], plain[:, 1], 96 - plain[:, 0], plain[:, 3]], axis=1)
    assert np.allclose(labels[0].xyxy, other_side)
    assert labels[1].xyxy.tolist() == split.labels[1].xyxy.tolist()


def test_turned_boxes_come_from_above_or_below(split: Split) -> None:
    draw = BatchSpec(np.arange(12), seed=0)
    _, labels = BoxBatchBuilder(split, Augment(vertical_flip=True))[draw]
    turned = 0
    for boxes, plain in zip(labels, split.labels, strict=True):
        x1, y1, x2, y2 = plain.xyxy.T
        upside_down = np.stack([x1, 64 - y2, x2, 64 - y1], axis=1)
        turned += np.allclose(boxes.xyxy, upside_down)
        assert np.allclose(boxes.xyxy, upside_down) or np.allclose(boxes.xyxy, plain.xyxy)
    assert 1 < turned < 11


def test_the_seed_decides_and_workers_change_nothing(split: Split) -> None:
    augment = Augment(flip=True, mosaic=0.5, iou_crop=0.5, color_jitter=0.3)
    settings = TrainSettings(epochs=1, batch_size=4, augment=augment)
    epochs = []
    for workers in (0, 0, 1):
        plan = Plan(split.labels, settings, np.random.default_rng(7))
        loader = Loader(plan, builder_of(split, augment), workers=workers)
        epochs.append(list(loader.epoch()))
    for other in epochs[1:]:
        for (images, labels), (same, twins) in zip(epochs[0], other, strict=True):
            assert torch.equal(images, same)
            assert [b.xyxy.tolist() for b in labels] == [b.xyxy.tolist() for b in twins]
    assert not torch.equal(drawn(split, augment, 0)[0], drawn(split, augment, 1)[0])


def test_what_is_hardly_left_of_a_box_is_dropped() -> None:
    boxes = Boxes.of([[0, 0, 10, 10], [0, 0, 4, 4], [8, 8, 18, 18]], [0, 1, 2], areas=[50, 8, 50])
    left = moved(boxes, -7, -2, (20, 20))
    assert left.classes.tolist() == [0, 2]
    assert left.xyxy.tolist() == [[0, 0, 3, 8], [1, 6, 11, 16]]
    assert left.areas.tolist() == [12, 50]
    assert len(moved(boxes, -30, 0, (20, 20))) == 0
    assert len(joined([boxes, Boxes.none(), left])) == 5


def test_a_larger_picture_is_cut_and_a_smaller_one_padded() -> None:
    scene = Scene(torch.full((3, 50, 50), 200, dtype=torch.uint8), Boxes.of([[0, 0, 50, 50]], [0]))
    spec = InputSpec(shape=(3, 40, 40), fit="letterbox")
    small, large = fitted(scene, spec, 0.5), fitted(scene, spec, 2.0)
    assert int((small.pixels[0] == 200).sum()) == 20 * 20
    assert small.boxes.areas.tolist() == [400]
    assert large.boxes.xyxy.tolist() == [[0, 0, 40, 40]]
    assert fitted(scene, spec, 1.0).boxes.xyxy.tolist() == [[0, 0, 40, 40]]


def test_each_kind_of_labels_has_its_own_augmentation(split: Split, digits: Data) -> None:
    for key, value in (("mixup", 0.2), ("shift", 2), ("rand_augment", 5)):
        with pytest.raises(InputError, match=f"augment.{key}: is for images with one class each"):
            builder_of(split, Augment.model_validate({key: value}))
    assert digits.train is not None
    with pytest.raises(InputError, match=r"augment\.mosaic: is for images with boxes"):
        builder_of(digits.train, Augment(mosaic=0.5))
    with pytest.raises(InputError, match="balance_classes: is for images with one class"):
        Plan(
            split.labels,
            TrainSettings(epochs=1, balance_classes=True),
            np.random.default_rng(0),
        )


def test_the_contact_sheet_draws_boxes(split: Split) -> None:
    settings = TrainSettings(epochs=1, batch_size=4, augment=Augment(flip=True))
    sheet = np.asarray(contact_sheet(split, settings, seed=0, images=4))
    assert (sheet == [255, 255, 0]).all(-1).sum() > 40  # the first class's outline
    boxes = Boxes.of([[0, 0, 1, 1]] * 3, [2, 0, 2])
    assert label_text(boxes, ["ant", "bee", "cat"]) == ["cat 2", "ant 1"]


def test_preprocessed_pictures_cannot_be_augmented() -> None:
    class Floats(Rectangles):
        def picture(self, index: int) -> Any:
            del index
            return np.zeros(SPEC.shape, np.float32)

        def size(self, index: int) -> tuple[int, int]:
            del index
            return SPEC.shape[1:]

    floats = Split(Floats(2), range(2), [b"a", b"b"], SPEC)
    with pytest.raises(InputError, match="is already preprocessed"):
        builder_of(floats, Augment(mosaic=1.0))[BatchSpec(np.arange(2), seed=0)]
