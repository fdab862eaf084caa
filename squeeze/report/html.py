"""``report.html``: one file, no network, no script."""

from pathlib import Path

from squeeze.core import tasks
from squeeze.core.text import printable
from squeeze.recipe import document
from squeeze.report import headlines, mixed_precision, plots, tables
from squeeze.report.markdown import verdict_of
from squeeze.results import Results
from squeeze.tasks import report_of


def render(results: Results) -> str:
    """Return the report as a self-contained page."""
    from jinja2 import Environment, StrictUndefined

    task = report_of(results.task)
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters.update(elsewhere=tables.elsewhere)
    template = environment.from_string(
        Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    )
    return template.render(
        results=results,
        verdict=verdict_of(results),
        columns=tables.columns(results),
        rows=list(tables.rows(results)),
        scatter=plots.accuracy_over_latency(results),
        headlines=headlines.headlines(results),
        gate_columns=tables.GATE_COLUMNS,
        gates=[(gate.verdict, tables.gate_cells(gate)) for gate in results.gates],
        verdict_class=_verdict_class(results),
        decodes=tasks.spec_of(results.task).decodes,
        sections=task.sections(tables.finals(results)),
        nms_files=tables.nms_files(results),
        reused=tables.reused_measurements(results),
        galleries=task.galleries(results.pictures),
        search_columns=mixed_precision.COLUMNS,
        searches=list(mixed_precision.search_tables(results)),
        recipe=document.dump(results.recipe),
        audited=[row for row in results.rows if row.coverage is not None],
        parities=[row for row in results.rows if row.parity is not None],
    )


def _verdict_class(results: Results) -> str:
    """Return the colour of the verdict: green only where every gate was decided and passed."""
    verdicts = {gate.verdict for gate in results.gates}
    if "fail" in verdicts:
        return "bad"
    return "good" if verdicts == {"pass"} else "none"


def _shown(value: object) -> object:
    """Escape control characters in what an expression gives; markup has a type of its own."""
    return printable(value) if type(value) is str else value
