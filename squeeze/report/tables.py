"""The main table of terminal, Markdown and HTML: a row per target and model."""

from collections.abc import Iterator
from dataclasses import dataclass

from squeeze.core import tasks
from squeeze.results import (
    Estimate,
    GateResult,
    Latency,
    MixedPrecisionSearch,
    ModelRecord,
    Results,
    Row,
    Verdict,
)
from squeeze.tasks import report_of

_PLACE = ("Target", "Model")
_LATENCY = ("Latency", "p95", "Speed-up")
_DECODED = ("Latency with decoding", "p95", "Speed-up", "Network only")
_COST = ("Size", "Params", "MACs", "Int8 kernels", "Peak memory")
_DETAILS = {"p95", "Peak memory"}
GATE_COLUMNS = ("Result", "Gate", "Target", "Model", "Limit", "Found", "Note")

_MARKS: dict[Verdict, str] = {
    "pass": "pass",
    "fail": "FAIL",
    "inconclusive": "inconclusive",
    "not_measurable": "not measurable here",
}
_MEGA = 1_000_000


@dataclass(frozen=True)
class TableRow:
    """One line: its cells, whether it was skipped, whether a target starts here."""

    cells: tuple[str, ...]
    skipped: bool
    first_of_target: bool


def columns(results: Results) -> tuple[str, ...]:
    """Return the heads of the columns for the run's task."""
    latency = _DECODED if tasks.spec_of(results.task).decodes else _LATENCY
    return (*_PLACE, *report_of(results.task).COLUMNS, *latency, *_COST)


def in_terminal(results: Results) -> list[int]:
    """Return the positions of the columns that a terminal has room for."""
    details = _DETAILS | report_of(results.task).DETAILS
    return [place for place, name in enumerate(columns(results)) if name not in details]


def rows(results: Results) -> Iterator[TableRow]:
    """Yield the table's lines in the order of targets and models."""
    models = {model.name: model for model in results.models}
    order = list(models)
    places = list(dict.fromkeys((row.target, row.batch_size) for row in results.rows))
    for place in places:
        group = sorted(
            (row for row in results.rows if (row.target, row.batch_size) == place),
            key=lambda row: order.index(row.model) if row.model in order else -1,
        )
        for number, row in enumerate(group):
            cells = _cells(row, models.get(row.model), results)
            yield TableRow(cells, row.skipped is not None, number == 0)


def _cells(row: Row, model: ModelRecord | None, results: Results) -> tuple[str, ...]:
    place = target_label(row)
    params = f"{model.params / 1e6:.3g} M" if model else ""
    macs = f"{model.macs / 1e6:.3g} M" if model else ""
    if row.skipped is not None or row.accuracy is None or row.latency is None:
        empty = [""] * (len(columns(results)) - 3)
        return (place, row.model, f"not measured: {row.skipped}", *empty)
    return (
        place,
        row.model,
        *report_of(results.task).cells(row.accuracy, row.change),
        *_latency(row, row.latency, decodes=tasks.spec_of(results.task).decodes),
        size(row.size_bytes),
        params,
        macs,
        coverage(row),
        size(row.peak_memory_bytes),
    )


def _latency(row: Row, latency: Latency, *, decodes: bool) -> tuple[str, ...]:
    here = of_this_host(row)
    cells = (
        _median(latency) + here,
        milliseconds(latency.p95_s),
        ratio(row.speedup) + here if row.speedup else "",
    )
    if not decodes:
        return cells
    if row.network_latency is None:
        return (*cells, "")
    alone = [_median(row.network_latency)]
    if row.network_speedup:
        alone.append(ratio(row.network_speedup))
    return (*cells, ", ".join(alone) + here)


def _median(latency: Latency) -> str:
    return milliseconds(latency.median_s) + (" ~" if latency.noisy else "")


def finals(results: Results) -> list[tuple[Row, Row]]:
    """Return the baseline's row and the last measured model's per target and batch size."""
    order = [model.name for model in results.models]
    pairs = []
    for place in dict.fromkeys((row.target, row.batch_size) for row in results.rows):
        group = [
            row
            for row in results.rows
            if (row.target, row.batch_size) == place and row.skipped is None
        ]
        if len(group) > 1:
            group.sort(key=lambda row: order.index(row.model))
            pairs.append((group[0], group[-1]))
    return pairs


def nms_files(results: Results) -> list[str]:
    """Return the files with decoding and suppression inside, relative to the run's folder."""
    return list(dict.fromkeys(row.with_nms for row in results.rows if row.with_nms))


def target_label(row: Row) -> str:
    """Return the target with what its figures depend on."""
    return (
        f"{row.target} ({row.device}, {row.threads} thread{'s' * (row.threads > 1)}, "
        f"batch {row.batch_size}{elsewhere(row)})"
    )


def elsewhere(row: Row | MixedPrecisionSearch) -> str:
    """Return what follows a target's name if it is for another processor; else nothing."""
    return f", for {row.made_for}, measured on this host" if row.made_for else ""


def of_this_host(row: Row) -> str:
    """Return what follows this host's figures if the target is for another processor."""
    return " (this host)" if row.made_for else ""


def milliseconds(seconds: float) -> str:
    """Show a latency with three significant digits."""
    return f"{1e3 * seconds:.3g} ms"


def ratio(estimate: Estimate) -> str:
    """Show a speed-up with its interval."""
    return f"{estimate.value:.2f}x [{estimate.low:.2f}, {estimate.high:.2f}]"


def size(count: int | None) -> str:
    """Show bytes in decimal units."""
    if count is None:
        return ""
    if count >= _MEGA:
        return f"{count / 1e6:.2f} MB"
    return f"{count / 1e3:.1f} kB"


def coverage(row: Row) -> str:
    """Show how many heavy operators run in int8 kernels."""
    if row.coverage is None:
        return row.precision
    kind = "" if row.precision == "int8" else f" ({row.precision})"
    return f"{row.coverage.int8} of {row.coverage.total}{kind}{of_this_host(row)}"


def gate_cells(gate: GateResult) -> tuple[str, ...]:
    """Return the cells of one gate, in the order of ``GATE_COLUMNS``."""
    where = gate.target or ""
    return (mark(gate), gate.gate, where, gate.model, gate.limit, gate.found, gate.note)


def mark(gate: GateResult) -> str:
    """Return how a gate ended."""
    return _MARKS[gate.verdict]


def reused_measurements(results: Results) -> list[str]:
    """Return a sentence for every target whose figures an earlier equal run has measured.

    Latency depends on the machine and the moment, so a reader must see that it is not of this run.
    """
    found: dict[str, None] = {}
    for row in results.rows:
        source = row.provenance
        if source is None or source.reused_from is None:
            continue
        machine = f"{source.machine} ({source.cores} cores, load {source.load_average:.1f})"
        what = f"measured by run {source.reused_from} at {source.measured_at} on {machine}"
        found[f"{target_label(row)}: {what}, reused here; --remeasure measures it again"] = None
    return list(found)
