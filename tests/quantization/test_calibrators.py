"""Calibrators against numpy, torch, ONNX Runtime's own and brute force; bounded memory."""

import tracemalloc
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze.core import plugins
from squeeze.core.errors import InputError, SqueezeError
from squeeze.quantization.activation_ranges import Calibration
from squeeze.quantization.calibration import entropy, mse
from squeeze.quantization.histogram import Histogram, Quantiles
from squeeze.recipe import calibrators
from squeeze.recipe.schema import CalibratorBlock

EVERY = sorted(plugins.names(plugins.CALIBRATORS))


def gathered(images: list[Any], **block: Any) -> tuple[float, float]:
    calibration = Calibration(CalibratorBlock(**block), "model")
    for image in images:
        calibration.see_values("x", np.asarray(image, np.float32))
    return calibration.ranges()["x"]


def laplace(images: int = 12, size: int = 5000) -> list[Any]:
    rng = np.random.default_rng(0)
    scales = rng.uniform(0.5, 2, images)
    return [rng.laplace(0.3, scale, size).astype(np.float32) for scale in scales]


def test_min_max_is_that_of_all_values() -> None:
    images = laplace()
    whole = np.concatenate(images)
    assert gathered(images, name="minmax") == (whole.min(), whole.max())


def test_ranges_of_images_are_merged_by_percentile() -> None:
    images = [[-n, n] for n in range(11)]
    assert gathered(images, name="image_percentile", percentile=0.0) == (-10, 10)
    assert gathered(images, name="image_percentile") == (-9, 9)
    images[5] = [-1000, 1000]
    assert gathered(images, name="image_percentile") == (-10, 10)


def test_the_moving_average_is_that_of_torch() -> None:
    import torch
    from torch.ao.quantization.observer import MovingAverageMinMaxObserver

    images = laplace()
    observer = MovingAverageMinMaxObserver(averaging_constant=0.05)
    for image in images:
        observer(torch.from_numpy(image))
    found = gathered(images, name="moving_average", options={"rate": 0.05})
    assert np.allclose(found, (observer.min_val.item(), observer.max_val.item()), rtol=1e-5)


@pytest.mark.parametrize("percentile", [99.0, 99.9, 99.99])
def test_percentiles_are_those_of_all_values(percentile: float) -> None:
    images = laplace(size=20_000)
    whole = np.concatenate(images)
    found = gathered(images, name="percentile", percentile=percentile)
    cut = (100 - percentile) / 2
    bin_width = np.ptp(whole) / 2048
    for end, at in zip(found, (cut, 100 - cut), strict=True):
        lower, higher = (np.percentile(whole, at, method=m) for m in ("lower", "higher"))
        assert lower - bin_width <= end <= higher + bin_width
    positive = [np.maximum(image, 0) for image in images]
    assert gathered(positive, name="percentile", percentile=percentile)[0] < bin_width


@pytest.mark.parametrize("bins", [256, 300, 512])
@pytest.mark.parametrize("one_sided", [False, True])
def test_entropy_is_that_of_onnxruntime(bins: int, one_sided: bool) -> None:  # noqa: FBT001
    from onnxruntime.quantization.calibrate import HistogramCollector

    values = np.concatenate(laplace()) * (1 if not one_sided else 0.4)
    values = np.maximum(values, 0) if one_sided else values
    reach = np.float32(np.abs(values).max())
    counts, edges = np.histogram(values, bins, range=(-reach, reach))
    edges = edges.astype(np.float32)
    collector = HistogramCollector(
        method="entropy",
        symmetric=False,
        num_bins=bins,
        num_quantized_bins=64,
        percentile=99.99,
        scenario="same",
    )
    theirs = collector.get_entropy_threshold((counts, edges, values.min(), values.max(), reach), 64)
    start, end = entropy.least_divergence(counts.astype(np.int64), 64)
    ours = max(edges[start], values.min()), min(edges[end], values.max())
    assert np.allclose(ours, theirs)


def test_entropy_clips_what_lies_far_outside() -> None:
    images = [*laplace(), [400.0]]
    low, high = gathered(images, name="entropy")
    assert -60 < low < -3
    assert 3 < high < 60


@pytest.mark.parametrize("kind", ["both", "positive", "outlier"])
def test_mse_is_as_good_as_brute_force(kind: str) -> None:
    images = laplace(size=2000)
    if kind == "positive":
        images = [np.maximum(image, 0) for image in images]
    if kind == "outlier":
        images.append(np.array([90.0], np.float32))
    whole, ones = np.concatenate(images).astype(np.float64), 1
    ends = min(whole.min(), 0.0), max(whole.max(), 0.0)

    def error(low: float, high: float) -> float:
        return mse.squared_error(whole, np.full(whole.shape, ones), (low, high))

    steps = np.linspace(0.1, 1, 46)
    lows = ends[0] * steps if ends[0] < 0 else [0.0]
    least = min(error(low, high) for low in lows for high in ends[1] * steps)
    found = gathered(images, name="mse")
    assert error(*found) < 1.02 * least
    assert error(*found) < error(*ends)


def test_the_error_of_a_range_is_that_of_onnxruntimes_rounding() -> None:
    import torch

    values, (low, high) = np.concatenate(laplace()).astype(np.float64), (-3.1, 4.2)
    step = (high - low) / 255
    rounded = torch.fake_quantize_per_tensor_affine(
        torch.from_numpy(values).float(), step, round(-low / step), 0, 255
    )
    expected = float(((rounded.double().numpy() - values) ** 2).sum())
    found = mse.squared_error(values, np.ones(values.shape, np.int64), (low, high))
    assert found == pytest.approx(expected, rel=1e-4)


numbers = st.floats(-1e6, 1e6, width=32).map(lambda value: value if abs(value) > 1e-6 else 0.0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(numbers, min_size=1, max_size=20), min_size=1, max_size=8))
def test_a_histogram_depends_on_the_values_only(parts: list[list[float]]) -> None:
    streamed, backwards, at_once = Histogram(64), Histogram(64), Histogram(64)
    for part in parts:
        streamed.add(np.array(part, np.float32))
    for part in reversed(parts):
        backwards.add(np.array(part[::-1], np.float32))
    values = np.concatenate([np.array(part, np.float32) for part in parts])
    at_once.add(values)
    for other in (backwards, at_once):
        assert (streamed.counts == other.counts).all()
        assert (streamed.edges == other.edges).all()
    expected = [
        int(((values >= low) & (values < high)).sum()) for low, high in pairwise(streamed.edges)
    ]
    assert streamed.counts.tolist() == expected
    assert streamed.counts.sum() == len(values)


def test_quantiles_are_exact_at_first_and_close_later() -> None:
    rng = np.random.default_rng(0)
    stream = rng.normal(size=5000)
    few, many = Quantiles(exact=10_000), Quantiles(exact=100)
    for value in stream:
        few.add(float(value))
        many.add(float(value))
    for percentile in (0, 10, 50, 99, 100):
        exact = np.percentile(stream, percentile)
        assert few.at(percentile) == exact
        assert many.at(percentile) == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("name", EVERY)
def test_memory_does_not_grow_with_the_samples(name: str) -> None:
    calibration = Calibration(CalibratorBlock(name=name), "model")
    rng = np.random.default_rng(0)

    def see(images: int) -> int:
        for _ in range(images):
            calibration.see_values("x", rng.normal(size=50).astype(np.float32) * rng.uniform(1, 9))
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    after_many, after_more = see(1100), see(2048)
    tracemalloc.stop()
    assert after_more - after_many < 20_000


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("value", [0.0, 3.0, -2.5])
def test_a_constant_activation_has_a_finite_range_that_holds_it(name: str, value: float) -> None:
    low, high = gathered([np.full(9, value)] * 3, name=name)
    assert low <= value <= high
    if value == 0:  # any scale is exact for it, and one near zero is what kernels cannot take
        assert (low, high) == (0, 1)
    else:
        assert max(abs(low), abs(high)) <= 2 * abs(value)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_told_by_name(name: str, broken: float) -> None:
    with pytest.raises(SqueezeError, match="the activation x is NaN or infinite"):
        gathered([[1.0, 2.0], [1.0, broken, 3.0]], name=name)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"name": "minmx"}, "minmax"),
        ({"name": "minmax", "percentile": 3.0}, "'minmax' has no percentile"),
        ({"name": "percentile", "percentile": 20.0}, "greater than 50"),
        ({"name": "image_percentile", "percentile": 50.0}, "less than 50"),
        ({"name": "moving_average", "options": {"rat": 0.1}}, "rate"),
        ({"name": "mse", "options": {"bins": 3}}, "'mse' has no options, found 'bins'"),
    ],
)
def test_wrong_blocks_are_reported(block: dict[str, Any], message: str) -> None:
    wrong = CalibratorBlock(**block)
    assert message in str(next(iter(calibrators.mistakes(wrong)))[1])
    with pytest.raises(InputError, match=message):
        calibrators.load(wrong)
