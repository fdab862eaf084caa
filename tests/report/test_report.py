"""Reports: rendered from the record alone, self-contained, complete."""

import json
import re
from html import unescape
from pathlib import Path

import jsonschema
import pytest
from markdown_it import MarkdownIt

from squeeze.cli import console
from squeeze.core.errors import InputError
from squeeze.report import headlines, html, markdown, plots, tables, write
from squeeze.report.warnings import warnings
from squeeze.results import (
    Accuracy,
    AuditedNode,
    Change,
    DataRecord,
    Epoch,
    Estimate,
    GateResult,
    KernelCoverage,
    Latency,
    ModelRecord,
    Parity,
    Picture,
    Results,
    Row,
)

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="


def at(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.01, high=value + 0.01)


def latency(median_s: float, *, noisy: bool = False) -> Latency:
    return Latency(
        median_s=median_s,
        p95_s=2 * median_s,
        iqr_s=median_s / 20,
        calls=3,
        rounds=3,
        noisy=noisy,
        raw_s=(median_s,) * 3,
    )


def row(model: str, target: str, **changes: object) -> Row:
    base: dict[str, object] = {
        "model": model,
        "target": target,
        "runtime": target,
        "device": "cpu",
        "precision": "fp32",
        "threads": 1,
        "batch_size": 1,
        "artifact": f"artifacts/{model}",
        "size_bytes": 1_500_000,
        "accuracy": Accuracy(samples=100, top1=at(0.9), top5=at(0.98)),
        "latency": latency(0.010),
    }
    return Row.model_validate(base | changes)


@pytest.fixture
def results() -> Results:
    change = Change(drop=at(0.02), top5_drop=0.0, agreement=0.95, regressions=3, fixes=1)
    coverage = KernelCoverage(
        int8=9,
        total=10,
        convolutions=(9, 9),
        survivors=(AuditedNode(name="node_linear", op="Gemm", reason="left in float"),),
        conversions={"QuantizeLinear": 1},
    )
    int8 = {
        "precision": "int8",
        "size_bytes": 400_000,
        "accuracy": Accuracy(samples=100, top1=at(0.88), top5=at(0.98)),
        "change": change,
        "coverage": coverage,
        "peak_memory_bytes": 2_000_000,
    }
    parity = Parity(samples=16, max_difference=1e-5, scale=8.0, same_class=1.0)
    return Results(
        squeeze="0",
        name="run <b>",
        id="20260101-000000",
        started="2026-01-01T00:00:00+00:00",
        seconds=12.0,
        command="squeeze run a.yaml",
        recipe={"version": 1, "name": "run"},
        environment={"cpu": "CPU", "cores": 2, "packages": {"torch": "2"}},
        data=(DataRecord(role="validation", samples=100, fingerprint="ab12"),),
        models=(
            ModelRecord(
                name="baseline",
                method="baseline",
                params=1_000_000,
                macs=5_000_000,
                seconds=3,
                epochs=(Epoch(loss=0.5, score=0.9, seconds=1),),
                reused_from="20251231-000000",
            ),
            ModelRecord(
                name="1-quantize", method="quantize", params=1_000_000, macs=5_000_000, seconds=1
            ),
        ),
        rows=(
            row("baseline", "onnxruntime", parity=parity),
            row(
                "1-quantize",
                "onnxruntime",
                latency=latency(0.020, noisy=True),
                speedup=at(0.5),
                over_float=at(0.5),
            ).model_copy(update={k: v for k, v in int8.items() if k != "latency"}),
            row("baseline", "pytorch"),
            row(
                "1-quantize",
                "pytorch",
                skipped="holds no int8 | file\nat all",
                accuracy=None,
                latency=None,
            ),
        ),
        gates=(
            GateResult(
                gate="top1",
                target="onnxruntime",
                limit="drop <= 1.00 points",
                found="+2.00",
                model="1-quantize",
                passed=False,
                note="a | b",
            ),
        ),
        pictures=(Picture(name="7.png", label="cat", baseline="cat", candidate="dog", png=PNG),),
        warnings=("Noisy timings",),
        stages_s={"data": 1.0},
    )


def text_of(page: str) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", page))


def test_the_record_follows_the_published_schema(results: Results) -> None:
    schema = Results.model_json_schema(by_alias=True)
    jsonschema.validate(json.loads(results.model_dump_json()), schema)
    wrong = json.loads(results.model_dump_json()) | {"version": 1}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)


def test_the_page_needs_neither_network_nor_script(results: Results) -> None:
    page = html.render(results)
    assert not re.search(r"<script|<link|@import|javascript:|\son\w+=", page)
    for attribute in re.findall(r"""(?:src|href|action|url)\s*[=(]\s*["']?([^"'\s)>]+)""", page):
        assert attribute.startswith(("data:image/png;base64,", "#")), attribute
    assert "run &lt;b&gt;" in page
    assert "<b>:" not in page.partition("</title>")[0]


def test_the_page_holds_every_figure_of_the_table(results: Results) -> None:
    page = " ".join(text_of(html.render(results)).split())
    for line in tables.rows(results):
        for cell in line.cells:
            assert " ".join(cell.split()) in page
    for text in ("node_linear", "left in float", "reused from run 20251231-000000", "7.png"):
        assert text in page or f'"{text}"' in html.render(results)


def test_rendering_twice_gives_the_same_page(results: Results) -> None:
    assert html.render(results) == html.render(results)


def test_a_run_without_any_measured_row_still_renders(results: Results) -> None:
    skipped = tuple(r for r in results.rows if r.skipped)
    bare = results.model_copy(update={"rows": skipped, "gates": (), "pictures": (), "warnings": ()})
    assert "no gates" in html.render(bare)
    assert "not measured" in markdown.render(bare)


def test_every_markdown_row_has_its_cells(results: Results) -> None:
    lines = markdown.render(results).splitlines()
    assert lines[0] == "# run &lt;b>: 1 of 1 gates failed"
    widths = [len(re.findall(r"(?<!\\)\|", line)) - 1 for line in lines if line.startswith("|")]
    assert widths == [len(tables.GATE_COLUMNS)] * 3 + [len(tables.COLUMNS)] * 6 + [6] * 3
    kernels = [node for row in results.rows if row.coverage for node in row.coverage.survivors]
    told = [f"| float | {node.name} | {node.op} | {node.reason} |" for node in kernels]
    assert told
    assert all(any(line.endswith(each) for line in lines) for each in told)


def test_figures_read_like_a_person_writes_them() -> None:
    assert tables.milliseconds(0.0123456) == "12.3 ms"
    assert tables.ratio(Estimate(value=1.5, low=1.4, high=1.61)) == "1.50x [1.40, 1.61]"
    assert tables.points(Estimate(value=0.01, low=-0.005, high=0.02)) == "-1.00 [-2.00, +0.50]"
    assert tables.points(Estimate(value=0.0, low=0.0, high=0.0)) == "+0.00 [+0.00, +0.00]"
    assert [tables.size(n) for n in (None, 999, 999_999, 1_000_000)] == [
        "",
        "1.0 kB",
        "1000.0 kB",
        "1.00 MB",
    ]


def test_what_a_reader_must_know_is_said(results: Results) -> None:
    found = list(warnings(results.rows, ["data.train: skipped, 1 of 9"]))
    assert found[0] == "data.train: skipped, 1 of 9"
    assert found[1].startswith("Noisy timings")
    assert "onnxruntime 1-quantize" in found[1]
    assert found[2].startswith("onnxruntime: int8 is slower here than the float model")
    assert found[3].startswith("onnxruntime: 1 of 10 convolutions and matrix products")
    assert len(found) == 4
    phone = list(warnings([row("baseline", "litert")], []))
    assert phone == [
        "LiteRT was timed on this host's processor, which is no phone: its ratios do not "
        "carry over to one."
    ]


@pytest.mark.parametrize(
    ("made_for", "told"),
    [
        ("arm64_fp16", ["The targets for arm64_fp16 were measured on this host"]),
        (
            "x86_avx2",
            [
                "onnxruntime: fp16 is storage only: x86 with AVX2 has no fp16 arithmetic",
                "The targets for x86_avx2 were measured on this host",
            ],
        ),
    ],
)
def test_a_half_file_for_another_processor_is_not_judged_by_this_one(
    made_for: str, told: list[str]
) -> None:
    slower = {"latency": latency(0.020), "speedup": at(0.5), "made_for": made_for}
    rows = [
        row("baseline", "onnxruntime"),
        row("1-quantize", "onnxruntime", precision="fp16", **slower),
    ]
    found = list(warnings(rows, []))
    assert len(found) == len(told)
    for warning, start in zip(found, told, strict=True):
        assert warning.startswith(start)


def test_a_folder_is_read_back(results: Results, tmp_path: Path) -> None:
    write.everything(results, tmp_path)
    assert write.read(tmp_path) == results
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "environment.json",
        "report.html",
        "report.md",
        "results.json",
    ]


def test_what_is_no_run_is_refused(results: Results, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"holds no results\.json"):
            write.read(folder)
    record = tmp_path / "results.json"
    record.write_text(results.model_dump_json().replace('"version":2', '"version":1', 1))
    with pytest.raises(InputError, match=r"results\.json cannot be read: version: "):
        write.read(tmp_path)
    record.write_text("{")
    with pytest.raises(InputError, match=r"results\.json cannot be read: "):
        write.read(tmp_path)
    with pytest.raises(InputError, match=r"holds no results\.json"):
        write.read(record)


def test_warnings_come_before_every_figure_in_every_report(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    first = results.rows[0]
    guessing = Accuracy(samples=100, top1=at(0.1), top5=at(0.5), guess=0.1, guess_p=0.5)
    doubtful = first.model_copy(update={"accuracy": guessing})
    rows = (doubtful, *results.rows[1:])
    shown = results.model_copy(update={"rows": rows, "warnings": tuple(warnings(rows, []))})
    told = shown.warnings[0]
    assert told.startswith("baseline on onnxruntime is no better than chance: top-1 10.0%")
    console.summary(shown)
    terminal, page, text = capsys.readouterr().out, html.render(shown), markdown.render(shown)
    page = page[page.index("<h1>") :]
    for report in (terminal, page, text):
        assert report.count(told) == 1
        first = min(report.index(figure) for figure in ("88.00", "top1", "Speed-up"))
        assert report.index(told) < first
    assert told in shown.model_dump_json()


def test_all_reports_have_all_headline_figures(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    console.summary(results)
    terminal = capsys.readouterr().out
    (headline,) = headlines.headlines(results)
    assert headline.title == "onnxruntime, batch 1: baseline → 1-quantize"
    assert dict(headline.figures) == {
        "Top-1": "90.00 % → 88.00 % (-2.00 [-3.00, -1.00] points)",
        "Agreement: same class as baseline": "95.0% of 100",
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
    outcomes = {True: "pass", False: "FAIL", None: "not measurable here"}
    for passed, word in outcomes.items():
        gate = results.gates[0].model_copy(update={"passed": passed, "model": "7-model"})
        shown = results.model_copy(update={"gates": (gate,)})
        console.summary(shown)
        terminal = capsys.readouterr().out
        assert f"{word}  top1 on onnxruntime, 7-model: +2.00, limit drop <= 1.00" in terminal
        for report in (html.render(shown), markdown.render(shown)):
            assert "7-model" in report
            assert word in report
        assert shown.passed is (passed is not False)


@pytest.mark.parametrize(
    ("outcomes", "verdict", "colour"),
    [
        ((True, True), "all gates passed", "good"),
        ((True, False, None), "1 of 3 gates failed, 1 not measurable here", "bad"),
        ((True, None), "1 of 2 gates passed, 1 not measurable here", "none"),
        ((None,), "0 of 1 gates passed, 1 not measurable here", "none"),
    ],
)
def test_a_gate_that_was_not_measured_is_not_counted_as_passed(
    outcomes: tuple[bool | None, ...], verdict: str, colour: str, results: Results
) -> None:
    gates = tuple(results.gates[0].model_copy(update={"passed": passed}) for passed in outcomes)
    shown = results.model_copy(update={"gates": gates})
    assert markdown.verdict_of(shown) == verdict
    assert f'<span class="verdict {colour}">{verdict}</span>' in html.render(shown)


def test_figures_of_this_host_are_labelled_where_the_target_names_another_processor(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tuple(each.model_copy(update={"made_for": "arm64"}) for each in results.rows)
    shown = results.model_copy(update={"rows": rows})
    for line in list(tables.rows(shown))[:2]:
        cells = dict(zip(tables.COLUMNS, line.cells, strict=True))
        assert cells["Target"].endswith("batch 1, for arm64, measured on this host)")
        assert cells["Latency"].endswith("(this host)")
    assert cells["Speed-up"] == "0.50x [0.49, 0.51] (this host)"
    assert cells["Int8 kernels"] == "9 of 10 (this host)"
    console.summary(shown)
    for report in (capsys.readouterr().out, html.render(shown), markdown.render(shown)):
        assert "for arm64, measured on this host" in report
        assert "0.50x [0.49, 0.51] (this host)" in report
        assert "9 of 10 (this host)" in report


HOSTILE = "a|b `c` <img src=x> [d](http://e.f) [g]: x \x1b[31m\u202eh\n# i"


def test_names_from_files_do_nothing_in_reports(results: Results) -> None:
    state = results.models[1].model_copy(update={"name": HOSTILE, "notes": (HOSTILE,)})
    changed = results.model_copy(
        update={
            "name": HOSTILE,
            "models": (results.models[0], state),
            "rows": (results.rows[0], results.rows[1].model_copy(update={"model": HOSTILE})),
            "warnings": (HOSTILE,),
        }
    )
    page = MarkdownIt("commonmark").enable("table").render(markdown.render(changed))
    shown = "a|b `c` &lt;img src=x&gt; [d](http://e.f) [g]: x \\u001b[31m\\u202eh # i"
    for line in (f"<h1>{shown}: ", f"<li>{shown}", f"<td>{shown}</td>"):
        assert line in page, line
    assert page.count(shown) >= 4
    assert not re.search(r"<a|<img|<code>c|\x1b|\u202e", page)
    page = html.render(changed)
    assert "a|b `c` &lt;img src=x&gt; [d](http://e.f) [g]: x \\u001b[31m\\u202eh" in page
    assert not re.search(r"<img src=x|\x1b|\u202e", page)


def test_plots_take_layers_names_for_text(tmp_path: Path) -> None:
    names = ["a$\\frac$", "_hidden", "\x1b[31m\u202ex"]
    plots.sensitivity([(name, [(0.1, 0.9), (0.5, 0.4)]) for name in names], tmp_path / "s.png")
    plots.layers([(name, 30.0, 0.9) for name in names], tmp_path / "l.png")
    assert (tmp_path / "s.png").stat().st_size > 1000
    assert (tmp_path / "l.png").stat().st_size > 1000
