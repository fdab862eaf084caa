"""Preprocessing against torchvision's transforms."""

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms

from squeeze.data.preprocessing import fit, normalise, pixels, restore, settled
from squeeze.recipe.schema import InputSpec

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (256, 256), (97, 333), (50, 60)])
def test_resize_and_crop_are_torchvisions(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    spec = InputSpec(shape=(3, 112, 112), mean=MEAN, std=STD)
    reference = transforms.Compose(
        [
            transforms.Resize(128),
            transforms.CenterCrop(112),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    found = normalise(fit(image, spec, "x")[None], spec)[0]
    assert np.allclose(found, reference(image).numpy(), atol=1e-6)


def test_grey_becomes_rgb_and_back() -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    rgb = fit(pixels, InputSpec(shape=(3, 8, 8), crop_fraction=1.0), "x")
    assert (rgb == pixels).all()
    grey = fit(np.stack([pixels] * 3, -1), InputSpec(shape=(1, 8, 8), crop_fraction=1.0), "x")
    assert (grey[0] == pixels).all()


def test_restore_inverts_normalise() -> None:
    spec = InputSpec(shape=(3, 8, 8), mean=MEAN, std=STD, crop_fraction=1.0)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 8, 8), dtype=np.uint8)
    assert (restore(normalise(pixels, spec)[0], spec) == pixels[0].transpose(1, 2, 0)).all()


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(32, 32), (32, 32)], 1.0),  # CIFAR
        ([(28, 28)], 1.0),  # MNIST, padded or scaled by a few pixels
        ([(36, 32)], 1.0),
        ([(37, 32)], 0.875),  # 32 / 0.875, what a crop is meant for
        ([(32, 32), (300, 400)], 0.875),  # not all
        ([(8, 8)], 0.875),
        ([], 0.875),
    ],
)
def test_nothing_is_cut_off_images_of_about_the_inputs_size(
    sizes: list[tuple[int, int]], expected: float
) -> None:
    spec = InputSpec(shape=(3, 32, 32))
    assert settled(spec, lambda: sizes).crop_fraction == expected
    for given in (
        InputSpec(shape=(3, 32, 32), crop_fraction=0.875),
        spec.model_copy(update={"fit": "stretch"}),
    ):
        assert settled(given, lambda: sizes) == given


def test_few_pixels_are_few_of_small_inputs_too() -> None:
    assert settled(InputSpec(shape=(1, 12, 12)), lambda: [(8, 8)]).crop_fraction == 0.875
    assert settled(InputSpec(shape=(3, 224, 224)), lambda: [(228, 220)]).crop_fraction == 1.0
    assert settled(InputSpec(shape=(3, 224, 224)), lambda: [(232, 232)]).crop_fraction == 0.875


def test_bgr_models_get_blue_first_and_people_see_red() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    spec = InputSpec(shape=(3, 8, 8), mean=(0.1, 0.2, 0.3), crop_fraction=1.0, channel_order="bgr")
    found = normalise(fit(image, spec, "x")[None], spec)[0]
    blue = image[:, :, 2].astype(np.float32) / 255 - 0.1  # the mean is in the model's order
    assert np.allclose(found[0], blue, atol=1e-6)
    assert (restore(found, spec) == image).all()
    assert (pixels(image, spec, "x")[0] == image[:, :, 2]).all()
