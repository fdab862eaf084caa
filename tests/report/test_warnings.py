"""What a reader must know first: chance level, and times that are compared."""

from typing import Any

import pytest

from squeeze.report.warnings import warnings
from squeeze.results import (
    Accuracy,
    DetectionAccuracy,
    Estimate,
    KernelCoverage,
    Latency,
    LayerTime,
    Row,
)


def latency(median_s: float) -> Latency:
    return Latency(
        median_s=median_s, p95_s=median_s, iqr_s=0, calls=1, rounds=1, noisy=False, raw_s=(1.0,)
    )


def point(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value)


def row(model: str = "baseline", **changes: Any) -> Row:
    base: dict[str, Any] = {
        "model": model,
        "target": "onnxruntime",
        "runtime": "onnxruntime",
        "device": "cpu",
        "precision": "fp32",
        "threads": 1,
        "batch_size": 1,
        "accuracy": Accuracy(samples=100, top1=point(0.9), top5=point(1.0)),
        "latency": latency(0.010),
    }
    return Row.model_validate(base | changes)


FULL = KernelCoverage(int8=53, total=53, convolutions=(52, 52), survivors=(), conversions={})


def int8(over_float: Estimate, **changes: Any) -> Row:
    fields = {"precision": "int8", "over_float": over_float, "coverage": FULL}
    return row("1-quantize", **(fields | changes))


def test_medians_alone_do_not_make_an_int8_file_slower() -> None:
    """Its own median is the larger one, and the paired interval holds 1."""
    unsure = Estimate(value=1.02, low=0.97, high=1.14)
    assert list(warnings([row(), int8(unsure, latency=latency(0.011))], [])) == []
    quicker = Estimate(value=1.2, low=1.1, high=1.3)
    assert list(warnings([row(), int8(quicker, latency=latency(0.011))], [])) == []


def test_a_paired_interval_below_1_does() -> None:
    slow = Estimate(value=0.96, low=0.95, high=0.97)
    layers = (LayerTime(name="stem", seconds=752e-6, float_seconds=369e-6),)
    (told,) = warnings([row(), int8(slow, latency=latency(0.009), slow_layers=layers)], [])
    assert told == (
        "onnxruntime: int8 is slower here than the float model it was made from (0.96x [0.95, "
        "0.97]), although all 53 convolutions and matrix products are int8: its gain is size, not "
        "speed; what costs it: stem 752 against 369 µs in float."
    )
    (told,) = warnings([row(), int8(slow, slow_layers=())], [])
    assert told.endswith("no single layer takes longer beyond noise.")


def test_every_runtime_says_so_and_one_without_times_of_layers_says_that() -> None:
    slow = Estimate(value=0.96, low=0.95, high=0.97)
    told, _ = warnings([int8(slow, target="litert", runtime="litert")], [])
    assert told.startswith("litert: int8 is slower here than the float model it was made from")
    assert told.endswith("litert tells no times of single layers, so what costs it is not known.")


def test_what_belongs_to_another_processor_is_not_compared() -> None:
    slow = Estimate(value=0.96, low=0.95, high=0.97)
    (told,) = warnings([int8(slow, made_for="arm64")], [])
    assert "slower" not in told


def test_many_slow_layers_are_counted() -> None:
    slow = Estimate(value=0.5, low=0.4, high=0.6)
    layers = tuple(LayerTime(name=f"l{i}", seconds=2e-6, float_seconds=1e-6) for i in range(7))
    (told,) = warnings([int8(slow, slow_layers=layers)], [])
    assert "l3 2 against 1 µs in float and 3 more." in told


GUESSING = Accuracy(
    samples=100, top1=point(0.08), top5=point(0.5), guess=0.11, guess_p=0.87, constant=True
)


def test_a_baseline_at_chance_is_told_first_and_once_for_all_targets() -> None:
    rows = [
        row(accuracy=GUESSING),
        row("1-prune", accuracy=GUESSING.model_copy(update={"guess_p": 0.0})),
        row(accuracy=GUESSING, target="litert"),
    ]
    found = list(warnings(rows, ["data.train: skipped, 1 of 9"]))
    assert found == [
        "baseline on onnxruntime, litert gives one class to all 100 samples: drops, agreement and "
        "gates against it mean nothing.",
        "baseline on onnxruntime, litert is no better than chance: top-1 8.0%, always answering "
        "the most frequent class gives 11.0% (binomial test, p = 0.87, 100 samples): drops, "
        "agreement and gates against it mean nothing.",
        "1-prune on onnxruntime gives one class to all 100 samples.",
        "data.train: skipped, 1 of 9",
    ]


@pytest.mark.parametrize(("value", "told"), [(0.004, True), (0.02, False)])
def test_a_detector_that_finds_nothing_is_told(value: float, *, told: bool) -> None:
    shares = {"ap75": 0.0, "small": None, "medium": None, "large": None, "recall": 0.0}
    score = DetectionAccuracy(
        samples=9,
        boxes=9,
        map=point(value),
        ap50=point(value),
        voc_ap50=0.0,
        per_class=(),
        **shares,
    )
    found = list(warnings([row(accuracy=score)], []))
    assert [text.partition(":")[0] for text in found] == (
        ["baseline on onnxruntime finds next to nothing"] * told
    )
