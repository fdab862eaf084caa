"""``report.html``: one file, no network, no script."""

from pathlib import Path

from squeeze.recipe import document
from squeeze.report import plots, tables
from squeeze.report.markdown import verdict_of
from squeeze.results import Results, Row


def render(results: Results) -> str:
    """Return the report as a self-contained page."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        milliseconds=tables.milliseconds, size=tables.size, ratio=tables.ratio, points=tables.points
    )
    template = environment.from_string(
        Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    )
    return template.render(
        results=results,
        verdict=verdict_of(results),
        columns=tables.COLUMNS,
        rows=list(tables.rows(results)),
        scatter=plots.accuracy_over_latency(results),
        finals=_finals(results),
        recipe=document.dump(results.recipe),
        audited=[row for row in results.rows if row.coverage is not None],
        parities=[row for row in results.rows if row.parity is not None],
    )


def _finals(results: Results) -> list[tuple[Row, Row]]:
    """Return baseline and furthest measured state per target and batch size."""
    order = [state.name for state in results.states]
    pairs = []
    for place in dict.fromkeys((row.target, row.batch_size) for row in results.rows):
        group = [
            row
            for row in results.rows
            if (row.target, row.batch_size) == place and row.skipped is None
        ]
        if len(group) > 1:
            group.sort(key=lambda row: order.index(row.state))
            pairs.append((group[0], group[-1]))
    return pairs
