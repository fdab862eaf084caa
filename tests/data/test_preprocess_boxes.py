"""Letterbox and stretch: pixels and boxes end up at the same place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from squeeze.data.preprocessing import PAD, fit, normalise, placement, restore
from squeeze.recipe.schema import InputSpec

SIDE = st.integers(1, 400)


@settings(deadline=None)
@given(height=SIDE, width=SIDE, tall=st.integers(8, 96), wide=st.integers(8, 96))
def test_a_picture_lies_inside_the_input_in_whole_pixels(
    height: int, width: int, tall: int, wide: int
) -> None:
    spec = InputSpec(shape=(1, tall, wide), fit="letterbox")
    place = placement((height, width), spec)
    whole = np.array([[0, 0, width, height]], np.float32)
    (left, top, right, bottom) = place.into(whole)[0].tolist()
    assert (left, top) == (place.left, place.top)
    assert left >= 0 <= top
    assert right <= wide + 1e-3
    assert bottom <= tall + 1e-3
    assert right == pytest.approx(round(right), abs=1e-3)
    assert bottom == pytest.approx(round(bottom), abs=1e-3)
    assert max((right - left) / wide, (bottom - top) / tall) == pytest.approx(1, abs=1e-4)
    assert np.allclose(place.back(place.into(whole)), whole, atol=1e-3)
    stretched = placement((height, width), InputSpec(shape=(1, tall, wide), fit="stretch"))
    assert np.allclose(stretched.into(whole), [[0, 0, wide, tall]], atol=1e-3)


@settings(deadline=None, max_examples=50)
@given(
    size=st.tuples(st.integers(40, 200), st.integers(40, 200)),
    shape=st.tuples(st.integers(32, 128), st.integers(32, 128)),
    way=st.sampled_from(["letterbox", "stretch"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_painted_rectangle_is_found_at_its_box(
    size: tuple[int, int], shape: tuple[int, int], way: str, seed: int
) -> None:
    """Its edges blur by the filter's support, half a pixel of the input or picture each side."""
    rng = np.random.default_rng(seed)
    height, width = size
    x1, y1 = int(rng.integers(0, width // 2)), int(rng.integers(0, height // 2))
    x2, y2 = x1 + int(rng.integers(12, width // 2)), y1 + int(rng.integers(12, height // 2))
    pixels = np.zeros((height, width), np.uint8)
    pixels[y1:y2, x1:x2] = 255
    spec = InputSpec.model_validate({"shape": (1, *shape), "fit": way})
    image = fit(pixels, spec, "x")[0] > 127
    place = placement(size, spec)
    (left, top, right, bottom) = place.into(np.array([[x1, y1, x2, y2]], np.float32))[0]
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    slack = 0.75 + max(place.scale_x, place.scale_y) / 2
    assert abs(columns[0] - left) <= slack
    assert abs(columns[-1] + 1 - right) <= slack
    assert abs(rows[0] - top) <= slack
    assert abs(rows[-1] + 1 - bottom) <= slack


def test_bars_are_grey_and_the_picture_is_pillows() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 60, 3), dtype=np.uint8)
    image = fit(pixels, InputSpec(shape=(3, 40, 40), fit="letterbox"), "x")
    assert (image[:, :10] == PAD).all()
    assert (image[:, 30:] == PAD).all()
    resized = np.asarray(Image.fromarray(pixels).resize((40, 20), Image.Resampling.BILINEAR))
    assert (image[:, 10:30] == resized.transpose(2, 0, 1)).all()
    grey = fit(pixels[..., 0], InputSpec(shape=(1, 40, 40), fit="letterbox"), "x")
    assert (grey[0, 0] == PAD).all()


def test_a_fitting_picture_is_left_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    for way in ("letterbox", "stretch"):
        spec = InputSpec.model_validate({"shape": (3, 32, 48), "fit": way})
        assert (restore(normalise(fit(pixels, spec, "x")[None], spec)[0], spec) == pixels).all()
        place = placement((32, 48), spec)
        assert (place.scale_x, place.scale_y, place.left, place.top) == (1, 1, 0, 0)


def test_cropping_has_no_placement() -> None:
    with pytest.raises(ValueError, match="no placement"):
        placement((10, 10), InputSpec(shape=(1, 8, 8)))
    with pytest.raises(ValidationError, match="letterbox does not use crop_fraction"):
        InputSpec(shape=(1, 8, 8), fit="letterbox", crop_fraction=0.9)
