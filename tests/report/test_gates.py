"""Gates: pass, fail, exactly at the limit, and what cannot be checked."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from squeeze.recipe.schema import Gate
from squeeze.report.gates import decide
from squeeze.results import (
    Accuracy,
    Change,
    Estimate,
    GateResult,
    KernelCoverage,
    Latency,
    Row,
    State,
    Unmet,
)


def at(value: float, spread: float = 0.0) -> Estimate:
    return Estimate(value=value, low=value - spread, high=value + spread)


def row(state: str, **changes: Any) -> Row:
    latency = Latency(
        median_s=0.01, p95_s=0.01, iqr_s=0, calls=10, rounds=10, noisy=False, raw_s=()
    )
    base: dict[str, Any] = {
        "state": state,
        "target": "t",
        "runtime": "onnxruntime",
        "device": "cpu",
        "precision": "fp32",
        "threads": 1,
        "batch_size": 1,
        "size_bytes": 1000,
        "accuracy": Accuracy(samples=100, top1=at(0.9), top5=at(0.99)),
        "latency": latency,
    }
    return Row(**(base | changes))


STATES = [
    State(name="baseline", method="baseline", params=100, macs=1000, seconds=0),
    State(name="1-quantize", method="quantize", params=50, macs=400, seconds=0),
]
ROWS = [
    row("baseline"),
    row(
        "1-quantize",
        precision="int8",
        size_bytes=250,
        speedup=at(1.5, 0.1),
        change=Change(drop=at(0.01, 0.02), top5_drop=0.02, agreement=0.96, broken=2, mended=1),
        coverage=KernelCoverage(
            int8=9, total=10, convolutions_int8=9, convolutions=9, survivors=(), conversions={}
        ),
    ),
]


def decided(gate: dict[str, Any], rows: list[Row] | None = None) -> list[GateResult]:
    parsed: Gate = TypeAdapter(Gate).validate_python(gate)
    return decide([parsed], rows or ROWS, STATES)


@pytest.mark.parametrize(
    ("gate", "passed", "found"),
    [
        ({"metric": "top1", "max_drop": 0.01}, True, "+1.00"),
        ({"metric": "top1", "max_drop": 0.009}, False, "+1.00"),
        ({"metric": "top1", "min": 0.9}, True, "90.00%"),
        ({"metric": "top5", "max_drop": 0.01}, False, "+2.00"),
        ({"metric": "agreement", "min": 0.96}, True, "96.0%"),
        ({"metric": "agreement", "min": 0.97}, False, "96.0%"),
        ({"metric": "latency", "min_speedup": 1.5}, True, "1.50x"),
        ({"metric": "latency", "min_speedup": 1.7}, False, "1.50x"),
        ({"metric": "latency", "max_latency_s": 0.009}, False, "10 ms"),
        ({"metric": "size", "max_bytes": 250}, True, "250"),
        ({"metric": "size", "min_reduction": 4}, True, "4.00x"),
        ({"metric": "size", "max_bytes": 249}, False, "250"),
        ({"metric": "macs", "min_reduction": 2.5}, True, "2.50x"),
        ({"metric": "params", "max": 49}, False, "50"),
        ({"metric": "int8_coverage", "min": 0.9}, True, "9 of 10"),
        ({"metric": "int8_coverage", "min": 1.0}, False, "9 of 10"),
    ],
)
def test_each_kind(gate: dict[str, Any], passed: bool, found: str) -> None:  # noqa: FBT001
    (result,) = decided(gate)
    assert (result.passed, result.found) == (passed, found)


def test_a_limit_inside_the_interval_is_noted() -> None:
    (result,) = decided({"metric": "latency", "min_speedup": 1.45})
    assert result.note == "within noise: interval 1.40x to 1.60x"
    (result,) = decided({"metric": "latency", "min_speedup": 1.2})
    assert result.note == ""


def test_a_target_that_was_not_measured_fails() -> None:
    skipped = [row("1-quantize", skipped="no CUDA device here", accuracy=None, latency=None)]
    (result,) = decided({"metric": "top1", "max_drop": 0.5, "target": "t"}, skipped)
    assert (result.passed, result.note) == (False, "no CUDA device here")
    (result,) = decided({"metric": "top1", "max_drop": 0.5}, skipped)
    assert (result.passed, result.found) == (False, "nothing to measure")


def test_a_float_target_is_judged_by_its_furthest_state() -> None:
    pruned = row("baseline", target="u", size_bytes=500)
    skipped = row("1-quantize", target="u", skipped="holds no int8", latency=None, accuracy=None)
    found = decided({"metric": "size", "max_bytes": 400}, [*ROWS, pruned, skipped])
    assert [(r.target, r.passed) for r in found] == [("t", True), ("u", False)]


def test_coverage_without_a_target_is_about_the_int8_files_there_are() -> None:
    float_target = row("baseline", target="u")
    found = decided({"metric": "int8_coverage", "min": 0.9}, [*ROWS, float_target])
    assert [(r.target, r.passed) for r in found] == [("t", True)]
    (alone,) = decided({"metric": "int8_coverage", "min": 0.9}, [float_target])
    assert (alone.passed, alone.found) == (False, "nothing to measure")


def test_a_step_that_missed_its_own_aim_is_a_failed_gate() -> None:
    unmet = Unmet(aim="MACs", limit="at most 10", found="20 at best")
    state = State(
        name="1-prune", method="prune", params=50, macs=20, seconds=0, notes=(), unmet=unmet
    )
    (gate,) = decide([], [], [state])
    assert (gate.gate, gate.limit, gate.found) == ("1-prune: MACs", "at most 10", "20 at best")
    assert not gate.passed
