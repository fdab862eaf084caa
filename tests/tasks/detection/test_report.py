"""What reports show of detection: mAP, classes, curves, boxes, latency with decoding."""

import re
from html import unescape
from typing import Any

import jsonschema
import pytest
from pydantic import TypeAdapter

from squeeze.recipe.schema import Gate
from squeeze.report import gates, headlines, html, markdown, tables
from squeeze.report.verdicts import IntervalRule
from squeeze.results import (
    ClassPrecision,
    DetectionAccuracy,
    DetectionChange,
    DetectionPicture,
    Estimate,
    GateResult,
    Latency,
    ModelRecord,
    Results,
    Row,
)

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="
STATES = tuple(
    ModelRecord(name=name, method="x", params=10, macs=100, seconds=1)
    for name in ("baseline", "1-quantize")
)


def at(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.02, high=value + 0.02)


def latency(median_s: float) -> Latency:
    return Latency(
        median_s=median_s, p95_s=median_s, iqr_s=0, calls=1, rounds=1, noisy=False, raw_s=(1.0,)
    )


def accuracy(map_: float, ap50: float) -> DetectionAccuracy:
    curve = tuple(1 - i / 100 for i in range(101))
    classes = (
        ClassPrecision(name="RBC", boxes=30, ap=map_, ap50=ap50, voc_ap50=ap50, curve=curve),
        ClassPrecision(
            name="none such", boxes=0, ap=None, ap50=None, voc_ap50=None, curve=(0.0,) * 101
        ),
    )
    return DetectionAccuracy(
        samples=72,
        boxes=30,
        map=at(map_),
        ap50=at(ap50),
        ap75=0.61,
        small=None,
        medium=0.55,
        large=0.5,
        recall=0.7,
        voc_ap50=0.87,
        per_class=classes,
    )


def row(model: str, **changes: Any) -> Row:
    base: dict[str, Any] = {
        "model": model,
        "target": "litert",
        "runtime": "litert",
        "device": "cpu",
        "precision": "fp32",
        "threads": 1,
        "batch_size": 1,
        "size_bytes": 1000,
        "accuracy": accuracy(0.6, 0.88),
        "latency": latency(0.012),
        "network_latency": latency(0.010),
    }
    return Row.model_validate(base | changes)


ROWS = (
    row("baseline"),
    row(
        "1-quantize",
        accuracy=accuracy(0.58, 0.87),
        change=DetectionChange(drop=at(0.02), ap50_drop=at(0.01), agreement=at(0.93)),
        latency=latency(0.007),
        network_latency=latency(0.005),
        speedup=at(1.7),
        network_speedup=at(2.0),
    ),
)


@pytest.fixture
def results() -> Results:
    picture = DetectionPicture(
        name="cells.jpg", objects=3, baseline="3 right", candidate="2 right", png=PNG
    )
    return Results(
        squeeze="0",
        name="run",
        id="1",
        started="2026-01-01T00:00:00+00:00",
        seconds=1,
        command="squeeze run a.yaml",
        recipe={"task": "detection"},
        environment={"cpu": "CPU", "cores": 2},
        data=(),
        models=STATES,
        rows=ROWS,
        pictures=(picture,),
    )


def test_a_detectors_record_is_read_back_as_it_was(results: Results) -> None:
    again = Results.model_validate_json(results.model_dump_json())
    assert again == results
    assert isinstance(again.rows[1].accuracy, DetectionAccuracy)
    jsonschema.validate(results.model_dump(mode="json"), Results.model_json_schema(by_alias=True))


def test_the_table_is_about_precision(results: Results) -> None:
    columns = tables.columns(results)
    baseline, last = (dict(zip(columns, line.cells, strict=True)) for line in tables.rows(results))
    assert baseline["mAP"] == "60.00%"
    assert baseline["mAP change, points"] == ""
    assert last["AP50"] == "87.00%"
    assert last["mAP change, points"] == "-2.00 [-4.00, +0.00]"
    assert last["AP50 change, points"] == "-1.00 [-3.00, +1.00]"
    assert (last["Latency with decoding"], last["Speed-up"]) == ("7 ms", "1.70x [1.68, 1.72]")
    assert last["Network only"] == "5 ms, 2.00x [1.98, 2.02]"


def test_a_state_that_was_not_measured_fills_the_row(results: Results) -> None:
    skipped = row("1-quantize", skipped="why", accuracy=None, latency=None)
    shown = results.model_copy(update={"rows": (ROWS[0], skipped)})
    lines = list(tables.rows(shown))
    assert {len(line.cells) for line in lines} == {len(tables.columns(shown))}
    html.render(shown)


def test_the_page_shows_classes_sizes_curves_and_boxes(results: Results) -> None:
    page = html.render(results)
    assert "Top-1" not in page
    for wanted in (
        "Average precision by class",
        "Precision over recall",
        "Images whose detections changed most",
        "cells.jpg",
        "Latency with decoding",
        "Network only",
        "1.70x",
    ):
        assert wanted in page
    assert re.search(r"<td>RBC</td><td>30</td><td>60.0</td><td>58.0</td><td>88.0</td>", page)
    assert page.count("<svg") == 2
    assert "none such" in page  # in the table; without boxes it has no curve
    assert page.count("none such") == 1


def test_markdown_has_the_classes_too(results: Results) -> None:
    text = markdown.render(results)
    assert "| RBC | 30 | 60.0 | 58.0 | 88.0 | 87.0 |" in text
    assert "| none such | 0 |" in text


RULE = IntervalRule(0.95, "warn")


@pytest.mark.parametrize(
    ("gate", "verdict", "found"),
    [
        ({"metric": "map", "max_drop": 0.05}, "pass", "-2.00 [-4.00, +0.00]"),
        ({"metric": "map", "max_drop": 0.03}, "inconclusive", "-2.00 [-4.00, +0.00]"),
        ({"metric": "map", "min": 0.55}, "pass", "58.00% [56.00%, 60.00%]"),
        ({"metric": "ap50", "max_drop": 0.005}, "inconclusive", "-1.00 [-3.00, +1.00]"),
        ({"metric": "ap50", "min": 0.9}, "fail", "87.00% [85.00%, 89.00%]"),
        ({"metric": "agreement", "min": 0.9}, "pass", "93.00% [91.00%, 95.00%]"),
        ({"metric": "top1", "max_drop": 0.5}, "fail", "not available"),
    ],
)
def test_gates_on_precision(gate: dict[str, Any], verdict: str, found: str) -> None:
    one: Gate = TypeAdapter(Gate).validate_python(gate)
    (decided,) = gates.decide([one], ROWS, STATES, RULE)
    assert isinstance(decided, GateResult)
    assert (decided.verdict, decided.found) == (verdict, found)


def test_the_headline_is_of_what_an_application_waits_for(results: Results) -> None:
    (headline,) = headlines.headlines(results)
    figures = dict(headline.figures)
    assert figures["Latency with decoding"] == "12 ms → 7 ms"
    assert figures["Speed-up"] == "1.70x [1.68, 1.72]"
    assert figures["Network only"] == "10 ms → 5 ms, 2.00x [1.98, 2.02]"
    assert figures["Agreement with the baseline"] == "93.0% of its detections are found"
    for report in (html.render(results), markdown.render(results)):
        for name, value in headline.figures:
            assert name in unescape(report)
            assert value in report


@pytest.mark.parametrize(("least", "verdict"), [(1.65, "pass"), (1.8, "fail")])
def test_the_gate_is_of_what_an_application_waits_for(least: float, verdict: str) -> None:
    gate: Gate = TypeAdapter(Gate).validate_python({"metric": "latency", "min_speedup": least})
    (decided,) = gates.decide([gate], ROWS, STATES, RULE)
    assert (decided.verdict, decided.found) == (verdict, "1.70x [1.68, 1.72]")
