"""The one table that terminal, Markdown and HTML show: a row per target and model."""

from collections.abc import Iterator
from dataclasses import dataclass

from squeeze.report import detection
from squeeze.results import (
    AccuracyBlock,
    DetectionAccuracy,
    Estimate,
    GateResult,
    Latency,
    MixedPrecisionSearch,
    ModelRecord,
    Results,
    Row,
)

_PLACE = ("Target", "Model")
_ACCURACY = ("Top-1", "95 % interval", "n", "Top-5", "Change, points", "Agreement")
_CHANGES = ("Change of mAP", "Change of AP50", "Agreement")
_PRECISION = ("mAP", "95 % interval", "n", "AP50", "AP75", *_CHANGES)
_LATENCY = ("Latency", "p95", "Speed-up")
_DECODED = ("Latency with decoding", "p95", "Speed-up", "Network alone")
_COST = ("Size", "Params", "MACs", "Int8 kernels", "Peak memory")
COLUMNS = (*_PLACE, *_ACCURACY, *_LATENCY, *_COST)
DETECTION_COLUMNS = (*_PLACE, *_PRECISION, *_DECODED, *_COST)
GATE_COLUMNS = ("", "Gate", "Target", "Model", "Limit", "Found", "Note")

_MEGA = 1_000_000


@dataclass(frozen=True)
class TableRow:
    """One line: its cells, whether it was left out, whether a target starts here."""

    cells: tuple[str, ...]
    skipped: bool
    first_of_target: bool


def columns(results: Results) -> tuple[str, ...]:
    """Return the heads of the columns for the run's task."""
    return DETECTION_COLUMNS if detection.is_detection(results) else COLUMNS


def rows(results: Results) -> Iterator[TableRow]:
    """Yield the table's lines in the order of targets and states."""
    states = {state.name: state for state in results.models}
    order = list(states)
    places = list(dict.fromkeys((row.target, row.batch_size) for row in results.rows))
    for place in places:
        group = sorted(
            (row for row in results.rows if (row.target, row.batch_size) == place),
            key=lambda row: order.index(row.model) if row.model in order else -1,
        )
        for number, row in enumerate(group):
            cells = _cells(row, states.get(row.model), len(columns(results)))
            yield TableRow(cells, row.skipped is not None, number == 0)


def _cells(row: Row, state: ModelRecord | None, count: int) -> tuple[str, ...]:
    place = target_label(row)
    params = f"{state.params / 1e6:.3g} M" if state else ""
    macs = f"{state.macs / 1e6:.3g} M" if state else ""
    if row.skipped is not None or row.accuracy is None or row.latency is None:
        return (place, row.model, f"not measured: {row.skipped}", *[""] * (count - 3))
    return (
        place,
        row.model,
        *_accuracy(row, row.accuracy),
        *_latency(row, row.latency),
        size(row.size_bytes),
        params,
        macs,
        coverage(row),
        size(row.peak_memory_bytes),
    )


def _accuracy(row: Row, accuracy: AccuracyBlock) -> tuple[str, ...]:
    _, main = accuracy.headline
    first = (f"{main.value:.2%}", f"{main.low:.1%} to {main.high:.1%}", str(accuracy.samples))
    drops = [points(row.change.drop) if row.change else ""]
    same = f"{row.change.agreement:.1%}" if row.change else ""
    if not isinstance(accuracy, DetectionAccuracy):
        return (*first, f"{accuracy.top5.value:.2%}", *drops, same)
    at_half = row.change.drop_of("ap50") if row.change else None
    drops.append(points(at_half) if at_half else "")
    return (*first, f"{accuracy.ap50.value:.2%}", f"{accuracy.ap75:.2%}", *drops, same)


def _latency(row: Row, latency: Latency) -> tuple[str, ...]:
    here = of_this_host(row)
    cells = (
        _median(latency) + here,
        milliseconds(latency.p95_s),
        ratio(row.speedup) + here if row.speedup else "",
    )
    if not isinstance(row.accuracy, DetectionAccuracy):
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
    """Return baseline and furthest measured state per target and batch size."""
    order = [state.name for state in results.models]
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


def target_label(row: Row) -> str:
    """Return the target with what the figure depends on."""
    return (
        f"{row.target} ({row.device}, {row.threads} thread{'s' * (row.threads > 1)}, "
        f"batch {row.batch_size}{elsewhere(row)})"
    )


def elsewhere(row: Row | MixedPrecisionSearch) -> str:
    """Return which other processor the target names, to be put behind the target; else nothing."""
    return f", for {row.made_for}, measured on this host" if row.made_for else ""


def of_this_host(row: Row) -> str:
    """Return what is put behind figures of this host where the target names another one."""
    return " (this host)" if row.made_for else ""


def milliseconds(seconds: float) -> str:
    """Show a latency with three significant digits."""
    return f"{1e3 * seconds:.3g} ms"


def ratio(estimate: Estimate) -> str:
    """Show a speed-up with its interval."""
    return f"{estimate.value:.2f}x [{estimate.low:.2f}, {estimate.high:.2f}]"


def points(estimate: Estimate) -> str:
    """Show a drop of accuracy in percentage points with its interval; minus is a loss."""
    change, low, high = (0.0 - 100 * v for v in (estimate.value, estimate.high, estimate.low))
    return f"{change:+.2f} [{low:+.2f}, {high:+.2f}]"


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
    return {True: "pass", False: "FAIL", None: "not measurable here"}[gate.passed]
