"""Order, augmentation and labels of the training batches."""

from pathlib import Path

import numpy as np
import pytest
import torch

from squeeze.core.errors import InputError
from squeeze.core.types import Silent
from squeeze.data.sets import Data, Opening, open_data
from squeeze.data.splits import Split
from squeeze.recipe.schema import Augment, DataBlock, InputSpec, TrainSettings
from squeeze.training.augment import ImageBatchBuilder
from squeeze.training.batches import BatchSpec, Loader, Plan


def batch(split: Split | None, augment: Augment, count: int = 64) -> tuple[np.ndarray, np.ndarray]:
    assert split is not None
    settings = TrainSettings(epochs=1, batch_size=count, augment=augment)
    draw = next(iter(Plan(split.labels, settings, np.random.default_rng(0))))
    images, labels = ImageBatchBuilder(split, augment)[draw]
    plain, _ = split.batch(draw.positions)
    assert images.shape == plain.shape
    assert images.dtype == torch.float32
    return images.numpy(), plain if labels.ndim == 1 else labels.numpy()


def test_an_epoch_takes_every_sample_once(digits: Data) -> None:
    assert digits.train is not None
    plan = Plan(
        digits.train.labels, TrainSettings(epochs=1, batch_size=1), np.random.default_rng(0)
    )
    first, second = ([int(draw.positions[0]) for draw in plan] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(1257))
    assert first != second


def test_images_are_mirrored_or_left_alone(digits: Data) -> None:
    flipped, plain = batch(digits.train, Augment(flip=True))
    mirrored = [np.array_equal(f, p[:, :, ::-1]) for f, p in zip(flipped, plain, strict=True)]
    same = [np.array_equal(f, p) for f, p in zip(flipped, plain, strict=True)]
    assert all(m or s for m, s in zip(mirrored, same, strict=True))
    assert 16 < sum(mirrored) < 48


def test_images_are_turned_upside_down_or_left_alone(digits: Data) -> None:
    flipped, plain = batch(digits.train, Augment(vertical_flip=True))
    turned = [np.array_equal(f, p[:, ::-1]) for f, p in zip(flipped, plain, strict=True)]
    same = [np.array_equal(f, p) for f, p in zip(flipped, plain, strict=True)]
    assert all(t or s for t, s in zip(turned, same, strict=True))
    assert 16 < sum(turned) < 48


def test_shifted_images_are_windows_of_the_padded_ones(digits: Data) -> None:
    shifted, plain = batch(digits.train, Augment(shift=2))
    for moved, image in zip(shifted, plain, strict=True):
        padded = np.pad(image[0], 2, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (12, 12))
        assert (windows == moved[0]).all(axis=(2, 3)).any()


@pytest.mark.parametrize(
    "augment",
    [
        Augment(rand_augment=9),
        Augment(color_jitter=0.4),
        Augment(random_resized_crop=0.3),
        Augment(mixup=0.5),
        Augment(cutmix=1.0),
    ],
)
def test_every_other_augmentation_changes_images_and_not_the_global_chance(
    digits: Data, augment: Augment
) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    images, plain = batch(digits.train, augment)
    assert torch.equal(before, torch.get_rng_state())
    assert np.isfinite(images).all()
    if not (augment.mixup or augment.cutmix):
        assert np.mean([np.array_equal(i, p) for i, p in zip(images, plain, strict=True)]) < 0.6


@pytest.mark.parametrize("augment", [Augment(mixup=0.5), Augment(cutmix=1.0)])
def test_mixed_labels_are_shares_of_what_is_in_the_image(digits: Data, augment: Augment) -> None:
    assert digits.train is not None
    draw = BatchSpec(np.arange(32), seed=3)
    images, shares = ImageBatchBuilder(digits.train, augment)[draw]
    plain, labels = digits.train.batch(draw.positions)
    assert torch.allclose(shares.sum(1), torch.ones(32))
    own = shares[torch.arange(32), torch.from_numpy(labels)]
    other = np.roll(labels, 1)
    share = float(own[labels != other][0])
    if augment.mixup:
        expected = share * plain + (1 - share) * np.roll(plain, 1, axis=0)
        assert np.allclose(images.numpy(), expected, atol=1e-5)
    else:
        pasted = images.numpy() == np.roll(plain, 1, axis=0)
        kept = images.numpy() == plain
        assert (pasted | kept).all()
        assert kept.mean() >= share - 1e-6


def test_classes_are_drawn_equally_often_when_asked() -> None:
    labels = np.array([0] * 900 + [1] * 100)
    settings = TrainSettings(epochs=1, batch_size=100, balance_classes=True)
    drawn = np.concatenate([d.positions for d in Plan(labels, settings, np.random.default_rng(0))])
    assert len(drawn) == 1000
    assert 0.45 < labels[drawn].mean() < 0.55


def test_a_random_crop_takes_from_the_original_picture(picture_folder: Path) -> None:
    block = DataBlock.model_validate({"validation": str(picture_folder)})
    spec = InputSpec(shape=(3, 8, 8))
    opening = Opening(Path(), spec, 0, Silent())
    split = open_data(block, opening, trains=False, calibrates=False).validation
    assert split.original(0).shape == (3, 30, 40)
    images, labels = ImageBatchBuilder(split, Augment(random_resized_crop=0.5))[
        BatchSpec(np.arange(12), seed=1)
    ]
    assert images.shape == (12, 3, 8, 8)
    assert labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def floats(folder: Path) -> Split:
    (folder / "floats.py").write_text(
        "import numpy as np\n"
        "def make():\n    return [(np.full((1, 4, 4), i, np.float32), i % 2) for i in range(4)]\n"
    )
    block = DataBlock.model_validate({"validation": "./floats.py:make"})
    opening = Opening(folder, InputSpec(shape=(1, 4, 4)), 0, Silent())
    return open_data(block, opening, trains=False, calibrates=False).validation


def test_preprocessed_images_have_no_pixels_to_augment(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="already preprocessed"):
        ImageBatchBuilder(floats(tmp_path), Augment(rand_augment=5))[
            BatchSpec(np.arange(2), seed=0)
        ]


@pytest.mark.parametrize(
    "augment",
    [Augment(flip=True, shift=2), Augment(random_resized_crop=0.5, rand_augment=5, mixup=0.3)],
)
def test_workers_and_a_thread_make_the_same_batches(digits: Data, augment: Augment) -> None:
    assert digits.train is not None
    settings = TrainSettings(epochs=1, batch_size=100, augment=augment)
    found = []
    for workers, beside in ((0, False), (2, False), (0, True)):
        plan = Plan(digits.train.labels, settings, np.random.default_rng(0))
        maker = ImageBatchBuilder(digits.train, augment)
        loader = Loader(plan, maker, workers=workers, beside=beside)
        found.append([batch for _ in range(2) for batch in loader.epoch()])
        assert loader.waited_s > 0
    assert len(found[0]) == 24
    for others in found[1:]:
        for (images, labels), (their_images, their_labels) in zip(found[0], others, strict=True):
            assert torch.equal(images, their_images)
            assert torch.equal(labels, their_labels)


def test_an_error_in_a_worker_is_the_same_error(tmp_path: Path) -> None:
    split = floats(tmp_path)
    settings = TrainSettings(epochs=1, batch_size=2, augment=Augment(rand_augment=5))
    plan = Plan(split.labels, settings, np.random.default_rng(0))
    loader = Loader(plan, ImageBatchBuilder(split, settings.augment), workers=1)
    with pytest.raises(InputError, match=r"floats\.py:make\[\d\]: is already preprocessed"):
        list(loader.epoch())


def test_workers_share_originals_that_were_read_ahead(picture_folder: Path) -> None:
    block = DataBlock.model_validate({"validation": str(picture_folder)})
    opening = Opening(Path(), InputSpec(shape=(3, 8, 8)), 0, Silent())
    augment = Augment(random_resized_crop=0.3)
    settings = TrainSettings(epochs=1, batch_size=4, augment=augment)
    found = []
    for workers in (0, 1):
        split = open_data(block, opening, trains=True, calibrates=False).validation
        plan = Plan(split.labels, settings, np.random.default_rng(0))
        loader = Loader(plan, ImageBatchBuilder(split, augment), workers=workers)
        found.append(torch.cat([images for images, _ in loader.epoch()]))
        assert len(split._originals._kept) == 12
    assert torch.equal(*found)
