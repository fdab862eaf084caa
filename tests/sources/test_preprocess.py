"""Preprocessing against torchvision's transforms."""

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms

from squeeze.recipe.schema import InputSpec
from squeeze.sources.preprocess import fit, normalise, restore

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
