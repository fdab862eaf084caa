"""What the terminal, Markdown and HTML have in common."""

import re
from html import unescape

import pytest

from squeeze.cli import console
from squeeze.report import headlines, html, markdown, tables
from squeeze.report.warnings import warnings
from squeeze.results import ClassificationAccuracy, Estimate, Provenance, Results


def text_of(page: str) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", page))


def test_warnings_come_before_every_figure_in_every_report(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    first = results.rows[0]
    low = Estimate(value=0.1, low=0.05, high=0.15)
    guessing = ClassificationAccuracy(samples=100, top1=low, top5=low, guess=0.1, guess_p=0.5)
    doubtful = first.model_copy(update={"accuracy": guessing})
    rows = (doubtful, *results.rows[1:])
    shown = results.model_copy(update={"rows": rows, "warnings": tuple(warnings(rows, []))})
    warning = shown.warnings[0]
    assert warning.startswith("baseline on onnxruntime is no better than chance: top-1 is 10.0%")
    console.summary(shown)
    terminal, page, text = capsys.readouterr().out, html.render(shown), markdown.render(shown)
    page = page[page.index("<h1>") :]
    for report in (terminal, page, text):
        assert report.count(warning) == 1
        first = min(report.index(figure) for figure in ("88.00", "top1", "Speed-up"))
        assert report.index(warning) < first
    assert warning in shown.model_dump_json()


def test_all_reports_have_all_headline_figures(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    console.summary(results)
    terminal = capsys.readouterr().out
    (headline,) = headlines.headlines(results)
    assert headline.title == "onnxruntime, batch 1: baseline → 1-quantize"
    assert dict(headline.figures) == {
        "Top-1": "90.00 % → 88.00 % (-2.00 [-3.00, -1.00] points)",
        "Agreement with the baseline": "same class for 95.0% of 100 samples",
        "Latency": "10 ms → 20 ms",
        "Speed-up": "0.50x [0.49, 0.51]",
        "Size": "1.50 MB → 400.0 kB (3.8x smaller)",
    }
    for report in (terminal, text_of(html.render(results)), markdown.render(results)):
        for name, value in headline.figures:
            assert name in report
            assert value in report


def test_the_gates_model_and_outcome_are_in_all_reports(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    marks = {
        "pass": "pass",
        "fail": "FAIL",
        "inconclusive": "inconclusive",
        "not_measurable": "not measurable here",
    }
    for verdict, word in marks.items():
        gate = results.gates[0].model_copy(update={"verdict": verdict, "model": "7-model"})
        shown = results.model_copy(update={"gates": (gate,)})
        console.summary(shown)
        terminal = capsys.readouterr().out
        assert f"{word}  top1 on onnxruntime, 7-model: -2.00 [-3.00, -1.00], limit" in terminal
        for report in (html.render(shown), markdown.render(shown)):
            assert "7-model" in report
            assert word in report
        assert shown.passed is (verdict != "fail")


@pytest.mark.parametrize(
    ("verdicts", "verdict", "colour"),
    [
        (("pass", "pass"), "all gates passed", "good"),
        (("pass", "fail", "not_measurable"), "1 of 3 gates failed, 1 not measurable here", "bad"),
        (("pass", "not_measurable"), "1 of 2 gates passed, 1 not measurable here", "none"),
        (("pass", "inconclusive"), "1 of 2 gates passed, 1 inconclusive", "none"),
        (("not_measurable",), "0 of 1 gates passed, 1 not measurable here", "none"),
    ],
)
def test_a_gate_without_a_verdict_is_not_counted_as_passed(
    verdicts: tuple[str, ...], verdict: str, colour: str, results: Results
) -> None:
    gates = tuple(results.gates[0].model_copy(update={"verdict": each}) for each in verdicts)
    shown = results.model_copy(update={"gates": gates})
    assert markdown.verdict_of(shown) == verdict
    assert f'<span class="verdict {colour}">{verdict}</span>' in html.render(shown)


def test_figures_of_this_host_are_labelled_where_the_target_names_another_processor(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tuple(each.model_copy(update={"made_for": "arm64"}) for each in results.rows)
    shown = results.model_copy(update={"rows": rows})
    for line in list(tables.rows(shown))[:2]:
        cells = dict(zip(tables.columns(shown), line.cells, strict=True))
        assert cells["Target"].endswith("batch 1, for arm64, measured on this host)")
        assert cells["Latency"].endswith("(this host)")
    assert cells["Speed-up"] == "0.50x [0.49, 0.51] (this host)"
    assert cells["Int8 kernels"] == "9 of 10 (this host)"
    console.summary(shown)
    for report in (capsys.readouterr().out, html.render(shown), markdown.render(shown)):
        assert "for arm64, measured on this host" in report
        assert "0.50x [0.49, 0.51] (this host)" in report
        assert "9 of 10 (this host)" in report


def test_figures_of_an_earlier_run_are_said_to_be_in_every_report(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    source = Provenance(
        measured_at="2026-01-02T03:04:05+00:00",
        machine="AMD EPYC",
        cores=2,
        load_average=0.25,
        reused_from="20260102-030405",
    )
    first, *others = (row.model_copy(update={"provenance": source}) for row in results.rows)
    own = first.model_copy(update={"provenance": source.model_copy(update={"reused_from": None})})
    sentence = (
        "onnxruntime (cpu, 1 thread, batch 1): measured by run 20260102-030405 at "
        "2026-01-02T03:04:05+00:00 on AMD EPYC (2 cores, load 0.2), reused here; --remeasure "
        "measures it again"
    )
    reused = results.model_copy(update={"rows": (first, *others)})
    console.summary(reused)
    for report in (capsys.readouterr().out, text_of(html.render(reused)), markdown.render(reused)):
        assert report.count(sentence) == 1
    assert tables.reused_measurements(results.model_copy(update={"rows": (own,)})) == []
