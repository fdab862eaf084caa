"""``report.md``: what fits into a comment on a pull request."""

import re
from collections import Counter
from collections.abc import Iterator

from squeeze.core import tasks
from squeeze.core.text import printable
from squeeze.report import headlines, mixed_precision, tables
from squeeze.results import Results
from squeeze.tasks import report_of

_LEGEND = (
    "Latency: median per call, all models of a target timed interleaved{decoded}. Speed-up: the "
    "baseline's median latency divided by the model's, with a 95 % interval from rounds in which "
    "both were timed. `~` marks a noisy timing."
)
_DECODED = ", including decoding and suppression"

_SHOWN = 30
_ESCAPES = {
    "\\": "\\\\",
    "`": "\\`",
    "|": "\\|",
    "<": "&lt;",
    "&": "&amp;",
    "](": "\\](",
    "][": "\\][",
    "]:": "\\]:",
    "://": ":\\//",
    "www.": "www\\.",
}
_SPECIAL = re.compile("|".join(map(re.escape, _ESCAPES)))


def render(results: Results) -> str:
    """Return the report as Markdown."""
    verdict = verdict_of(results)
    machine = f"{results.environment['cpu']} ({results.environment['cores']} cores)"
    made = f"Run {results.id}, {results.seconds:.0f} s, squeeze {results.squeeze}, {machine}."
    lines = [f"# {escaped(results.name)}: {verdict}", "", escaped(made), ""]
    if results.warnings:
        lines += ["## Read this first", ""]
        lines += [f"- {escaped(warning)}" for warning in results.warnings]
        lines.append("")
    lines += list(_headlines(results))
    if results.gates:
        heads = tables.GATE_COLUMNS
        lines += ["## Gates", "", _line(heads), _line(("---",) * len(heads))]
        lines += [_line(_emphasized(tables.gate_cells(gate))) for gate in results.gates]
        lines.append("")
    columns = tables.columns(results)
    lines += ["## Measured", "", _line(columns), _line(("---",) * len(columns))]
    lines += [_line(row.cells) for row in tables.rows(results)]
    decoded = _DECODED if tasks.spec_of(results.task).decodes else ""
    lines += ["", _LEGEND.format(decoded=decoded), ""]
    if reused := tables.reused_measurements(results):
        lines += [*(f"- {escaped(each)}" for each in reused), ""]
    if nms_files := tables.nms_files(results):
        lines += [f"Files with decoding and suppression: {escaped(', '.join(nms_files))}.", ""]
    lines += list(_outside_int8(results))
    lines += list(_sections(results))
    lines += list(_searches(results))
    if any(model.notes for model in results.models):
        lines += ["## Steps", ""]
        for model in results.models:
            notes = (f"    - {escaped(note)}" for note in model.notes)
            lines += [f"- {escaped(model.name)}", *notes]
        lines.append("")
    return "\n".join(lines)


def _headlines(results: Results) -> Iterator[str]:
    """Yield what was gained and lost, a list per target."""
    for headline in headlines.headlines(results):
        yield from (f"## {escaped(headline.title)}", "")
        yield from (f"- {escaped(name)}: {escaped(value)}" for name, value in headline.figures)
        yield ""


def _emphasized(cells: tuple[str, ...]) -> tuple[str, ...]:
    mark, *others = cells
    return (f"**{mark}**" if mark in {"FAIL", "inconclusive"} else mark, *others)


def _outside_int8(results: Results) -> Iterator[str]:
    """Yield the convolutions and matrix products of int8 files that run in no fast int8 kernel."""
    rows = [
        (row.target, row.model, name, node.name, node.op, node.reason)
        for row in results.rows
        if row.coverage is not None
        for name, nodes in (
            ("float", row.coverage.survivors),
            ("slow integer kernel", row.coverage.slow),
        )
        for node in nodes
    ]
    if not rows:
        return
    heads = ("Target", "Model", "Runs in", "Layer", "Operator", "Reason")
    yield from ("## Not in fast int8 kernels", "", _line(heads), _line(("---",) * len(heads)))
    yield from (_line(row) for row in rows[:_SHOWN])
    if len(rows) > _SHOWN:
        yield from ("", f"{len(rows) - _SHOWN} more are in report.html and results.json.")
    yield ""


def _sections(results: Results) -> Iterator[str]:
    """Yield the tables that only the run's task has."""
    for section in report_of(results.task).sections(tables.finals(results)):
        for table in section.tables:
            title = f"{section.title}, {table.title}" if table.title else section.title
            yield from (f"## {escaped(title)}", "")
            yield from (_line(table.columns), _line(("---",) * len(table.columns)))
            yield from (_line(row) for row in table.rows)
            yield ""


def _searches(results: Results) -> Iterator[str]:
    """Yield what mixed precision tried."""
    for table in mixed_precision.search_tables(results):
        yield from (f"## Mixed precision, {escaped(table.title)}", "", escaped(table.summary), "")
        yield _line(mixed_precision.COLUMNS)
        yield _line(("---",) * len(mixed_precision.COLUMNS))
        yield from (_line(row) for row in table.rows)
        yield from ("", escaped(table.worst), "")


def verdict_of(results: Results) -> str:
    """Return the outcome in a few words."""
    if not results.gates:
        return "no gates"
    total = len(results.gates)
    counts = Counter(gate.verdict for gate in results.gates)
    if counts["fail"]:
        parts = [f"{counts['fail']} of {total} gates failed"]
    elif counts["pass"] == total:
        parts = ["all gates passed"]
    else:
        parts = [f"{counts['pass']} of {total} gates passed"]
    if counts["inconclusive"]:
        parts.append(f"{counts['inconclusive']} inconclusive")
    if counts["not_measurable"]:
        parts.append(f"{counts['not_measurable']} not measurable here")
    return ", ".join(parts)


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(escaped(cell) for cell in cells) + " |"


def escaped(text: str) -> str:
    """Return a text on one line in which names from files make no code, HTML, links or cells."""
    return _SPECIAL.sub(lambda found: _ESCAPES[found[0]], printable(text, one_line=True))
