"""``report.md``: what fits into a pull request's comment."""

from squeeze.report import tables
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
    lines += ["## Measured", "", _line(tables.COLUMNS), _line(("---",) * len(tables.COLUMNS))]
    lines += [_line(row.cells) for row in tables.rows(results)]
    lines += ["", _LEGEND, ""]
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


def verdict_of(results: Results) -> str:
    """Return the outcome in two words."""
    if not results.gates:
        return "no gates"
    failed = sum(not gate.passed for gate in results.gates)
    return f"{failed} of {len(results.gates)} gates failed" if failed else "all gates passed"


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
