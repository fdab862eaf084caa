"""What a reader must know first: chance level, and times that are compared."""

from typing import Any

import pytest

from squeeze.report.warnings import warnings
from squeeze.results import (
    ClassificationAccuracy,
    DetectionAccuracy,
    Estimate,
    KernelCoverage,
    Latency,
    LayerTime,
    Results,
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
        "accuracy": ClassificationAccuracy(samples=100, top1=point(0.9), top5=point(1.0)),
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
    (warning,) = warnings([row(), int8(slow, latency=latency(0.009), slow_layers=layers)], [])
    assert warning == (
        "onnxruntime: int8 is slower on this host than the float model it was made from (0.96x "
        "[0.95, 0.97]), although all 53 convolutions and matrix products run in int8: it saves "
        "size, not time; slowest layers: stem (752 µs, 369 in float)."
    )
    (warning,) = warnings([row(), int8(slow, slow_layers=())], [])
    assert warning.endswith("no single layer is slower beyond noise.")


def test_every_runtime_says_so_and_one_without_times_of_layers_says_that() -> None:
    slow = Estimate(value=0.96, low=0.95, high=0.97)
    warning, _ = warnings([int8(slow, target="litert", runtime="litert")], [])
    assert warning.startswith(
        "litert: int8 is slower on this host than the float model it was made from"
    )
    assert warning.endswith("litert does not time single layers, so the cause is unknown.")


def test_what_belongs_to_another_processor_is_not_compared() -> None:
    slow = Estimate(value=0.96, low=0.95, high=0.97)
    (warning,) = warnings([int8(slow, made_for="arm64")], [])
    assert "slower" not in warning


def test_many_slow_layers_are_counted() -> None:
    slow = Estimate(value=0.5, low=0.4, high=0.6)
    layers = tuple(LayerTime(name=f"l{i}", seconds=2e-6, float_seconds=1e-6) for i in range(7))
    (warning,) = warnings([int8(slow, slow_layers=layers)], [])
    assert "l3 (2 µs, 1 in float) and 3 more." in warning


GUESSING = ClassificationAccuracy(
    samples=100, top1=point(0.08), top5=point(0.5), guess=0.11, guess_p=0.87, constant=True
)


def test_a_baseline_at_chance_is_reported_first_and_once_for_all_targets() -> None:
    rows = [
        row(accuracy=GUESSING),
        row("1-prune", accuracy=GUESSING.model_copy(update={"guess_p": 0.0})),
        row(accuracy=GUESSING, target="litert"),
    ]
    found = list(warnings(rows, ["data.train: skipped, 1 of 9"]))
    assert found == [
        "baseline on onnxruntime, litert predicts the same class for all 100 samples: drops, "
        "agreement and gates against it mean nothing.",
        "baseline on onnxruntime, litert is no better than chance: top-1 is 8.0%, always "
        "predicting the most frequent class gives 11.0% (binomial test, p = 0.87, 100 samples): "
        "drops, agreement and gates against it mean nothing.",
        "1-prune on onnxruntime predicts the same class for all 100 samples.",
        "data.train: skipped, 1 of 9",
    ]


@pytest.mark.parametrize(("value", "warns"), [(0.004, True), (0.02, False)])
def test_a_detector_that_finds_nothing_is_reported(value: float, *, warns: bool) -> None:
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
        ["baseline on onnxruntime detects almost nothing"] * warns
    )


def test_what_a_reader_must_know_is_said(results: Results) -> None:
    found = list(warnings(results.rows, ["data.train: skipped, 1 of 9"]))
    assert found[0] == "data.train: skipped, 1 of 9"
    assert found[1].startswith("Noisy timings")
    assert "onnxruntime 1-quantize" in found[1]
    assert found[2].startswith("onnxruntime: int8 is slower on this host than the float model")
    assert found[3].startswith("onnxruntime: 1 of 10 convolutions and matrix products")
    assert len(found) == 4
    litert = row(target="litert", runtime="litert")
    gone = row(target="x", runtime="of-a-package-that-is-not-installed")
    assert list(warnings([litert, litert, gone], [])) == [
        "LiteRT was timed on this host's processor, not on a phone: its speed-ups do not carry "
        "over to phones."
    ]


@pytest.mark.parametrize(
    ("made_for", "starts"),
    [
        ("arm64_fp16", ["Targets for arm64_fp16 were measured on this host"]),
        (
            "x86_avx2",
            [
                "onnxruntime: fp16 is storage only: x86 with AVX2 has no fp16 arithmetic",
                "Targets for x86_avx2 were measured on this host",
            ],
        ),
    ],
)
def test_a_half_file_for_another_processor_is_not_judged_by_this_one(
    made_for: str, starts: list[str]
) -> None:
    slower = {"latency": latency(0.020), "speedup": point(0.5), "made_for": made_for}
    rows = [row(), row("1-quantize", precision="fp16", artifact="a.onnx", **slower)]
    found = list(warnings(rows, []))
    assert len(found) == len(starts)
    for warning, start in zip(found, starts, strict=True):
        assert warning.startswith(start)
