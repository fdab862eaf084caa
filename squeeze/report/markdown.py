"""``report.md``: what fits into a pull request's comment."""

from collections.abc import Iterator

from squeeze.report import detection, ladders, tables
from squeeze.results import Results

_LEGEND = (
    "Latency is the median of calls taken in turns with the other states; `~` marks a noisy one. "
    "Brackets are 95 % intervals."
)


def render(results: Results) -> str:
    """Return the report as Markdown."""
    verdict = verdict_of(results)
    machine = f"{results.environment['cpu']} ({results.environment['cores']} cores)"
    made = f"Run {results.id}, {results.seconds:.0f} s, squeeze {results.squeeze}, {machine}."
    lines = [f"# {results.name}: {verdict}", "", made, ""]
    if results.gates:
        lines += [
            "## Gates",
            "",
            _line(("", "Gate", "Target", "Limit", "Found", "Note")),
            _line(("---",) * 6),
        ]
        lines += [
            _line(
                (
                    "pass" if g.passed else "**FAIL**",
                    *(g.gate, g.target or "", g.limit, g.found, g.note),
                )
            )
            for g in results.gates
        ]
        lines.append("")
    columns = tables.columns(results)
    lines += ["## Measured", "", _line(columns), _line(("---",) * len(columns))]
    lines += [_line(row.cells) for row in tables.rows(results)]
    lines += ["", _LEGEND, ""]
    if nms_files := detection.nms_files(results):
        lines += [f"With decoding and suppression inside: {', '.join(nms_files)}.", ""]
    lines += list(_by_class(results))
    lines += list(_ladders(results))
    if any(state.notes for state in results.states):
        lines += ["## Steps", ""]
        for state in results.states:
            lines += [f"- {state.name}", *(f"    - {note}" for note in state.notes)]
        lines.append("")
    if results.warnings:
        lines += ["## Read this first", ""]
        lines += [f"- {warning}" for warning in results.warnings]
        lines.append("")
    return "\n".join(lines)


def _by_class(results: Results) -> Iterator[str]:
    """Yield average precision by class, where the run was about boxes."""
    for table in detection.class_tables(tables.finals(results)):
        before, after = table.states
        yield from (f"## Average precision by class, {table.place}", "")
        heads = (f"AP {before}", f"AP {after}", f"AP50 {before}", f"AP50 {after}")
        yield _line(("Class", "Boxes", *heads))
        yield _line(("---",) * 6)
        yield from (_line(row) for row in table.rows)
        yield ""


def _ladders(results: Results) -> Iterator[str]:
    """Yield what mixed precision tried."""
    for table in ladders.ladder_tables(results):
        yield from (f"## Mixed precision, {table.title}", "", table.told, "")
        yield _line(ladders.COLUMNS)
        yield _line(("---",) * len(ladders.COLUMNS))
        yield from (_line(row) for row in table.rows)
        yield from ("", table.worst, "")


def verdict_of(results: Results) -> str:
    """Return the outcome in two words."""
    if not results.gates:
        return "no gates"
    failed = sum(not gate.passed for gate in results.gates)
    return f"{failed} of {len(results.gates)} gates failed" if failed else "all gates passed"


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
