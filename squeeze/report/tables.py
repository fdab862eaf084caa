"""The one table that terminal, Markdown and HTML show: a row per target and model state."""

from collections.abc import Iterator
from dataclasses import dataclass

from squeeze.results import Estimate, Results, Row, State

COLUMNS = (
    "Target",
    "State",
    "Top-1",
    "95 % interval",
    "n",
    "Top-5",
    "Change, points",
    "Latency",
    "p95",
    "Speed-up",
    "Size",
    "Params",
    "MACs",
    "Int8 kernels",
    "Peak memory",
)

_MEGA = 1_000_000


@dataclass(frozen=True)
class TableRow:
    """One line: its cells, whether it was left out, whether a target starts here."""

    cells: tuple[str, ...]
    skipped: bool
    first_of_target: bool


def rows(results: Results) -> Iterator[TableRow]:
    """Yield the table's lines in the order of targets and states."""
    states = {state.name: state for state in results.states}
    order = list(states)
    places = list(dict.fromkeys((row.target, row.batch_size) for row in results.rows))
    for place in places:
        group = sorted(
            (row for row in results.rows if (row.target, row.batch_size) == place),
            key=lambda row: order.index(row.state) if row.state in order else -1,
        )
        for number, row in enumerate(group):
            yield TableRow(_cells(row, states.get(row.state)), row.skipped is not None, number == 0)


def _cells(row: Row, state: State | None) -> tuple[str, ...]:
    place = target_label(row)
    params = f"{state.params / 1e6:.3g} M" if state else ""
    macs = f"{state.macs / 1e6:.3g} M" if state else ""
    if row.skipped is not None or row.accuracy is None or row.latency is None:
        return (place, row.state, f"not measured: {row.skipped}", *[""] * (len(COLUMNS) - 3))
    top1 = row.accuracy.top1
    return (
        place,
        row.state,
        f"{top1.value:.2%}",
        f"{top1.low:.1%} to {top1.high:.1%}",
        str(row.accuracy.samples),
        f"{row.accuracy.top5.value:.2%}",
        points(row.change.drop) if row.change else "",
        milliseconds(row.latency.median_s) + (" ~" if row.latency.noisy else ""),
        milliseconds(row.latency.p95_s),
        ratio(row.speedup) if row.speedup else "",
        size(row.size_bytes),
        params,
        macs,
        coverage(row),
        size(row.peak_memory_bytes),
    )


def target_label(row: Row) -> str:
    """Return the target with what the figure depends on."""
    return (
        f"{row.target} ({row.device}, {row.threads} thread{'s' * (row.threads > 1)}, "
        f"batch {row.batch_size})"
    )


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
    return f"{row.coverage.int8} of {row.coverage.total}{kind}"
