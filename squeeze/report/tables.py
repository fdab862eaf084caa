"""The one table that terminal, Markdown and HTML show: a row per target and model state."""

from collections.abc import Iterator
from dataclasses import dataclass

from squeeze.report import detection
from squeeze.results import AccuracyBlock, DetectionAccuracy, Estimate, Results, Row, State

_PLACE = ("Target", "State")
_ACCURACY = ("Top-1", "95 % interval", "n", "Top-5", "Change, points")
_PRECISION = ("mAP", "95 % interval", "n", "AP50", "AP75", "Change of mAP", "Change of AP50")
_LATENCY = ("Latency", "p95")
_DECODED = ("With decoding",)
_COST = ("Speed-up", "Size", "Params", "MACs", "Int8 kernels", "Peak memory")
COLUMNS = (*_PLACE, *_ACCURACY, *_LATENCY, *_COST)
DETECTION_COLUMNS = (*_PLACE, *_PRECISION, *_LATENCY, *_DECODED, *_COST)

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
    states = {state.name: state for state in results.states}
    order = list(states)
    places = list(dict.fromkeys((row.target, row.batch_size) for row in results.rows))
    for place in places:
        group = sorted(
            (row for row in results.rows if (row.target, row.batch_size) == place),
            key=lambda row: order.index(row.state) if row.state in order else -1,
        )
        for number, row in enumerate(group):
            cells = _cells(row, states.get(row.state), len(columns(results)))
            yield TableRow(cells, row.skipped is not None, number == 0)


def _cells(row: Row, state: State | None, count: int) -> tuple[str, ...]:
    place = target_label(row)
    params = f"{state.params / 1e6:.3g} M" if state else ""
    macs = f"{state.macs / 1e6:.3g} M" if state else ""
    if row.skipped is not None or row.accuracy is None or row.latency is None:
        return (place, row.state, f"not measured: {row.skipped}", *[""] * (count - 3))
    return (
        place,
        row.state,
        *_accuracy(row, row.accuracy),
        milliseconds(row.latency.median_s) + (" ~" if row.latency.noisy else ""),
        milliseconds(row.latency.p95_s),
        *_decoded(row),
        ratio(row.speedup) if row.speedup else "",
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
    if not isinstance(accuracy, DetectionAccuracy):
        return (*first, f"{accuracy.top5.value:.2%}", *drops)
    at_half = row.change.drop_of("ap50") if row.change else None
    drops.append(points(at_half) if at_half else "")
    return (*first, f"{accuracy.ap50.value:.2%}", f"{accuracy.ap75:.2%}", *drops)


def _decoded(row: Row) -> tuple[str, ...]:
    if not isinstance(row.accuracy, DetectionAccuracy):
        return ()
    if row.decoded is None:
        return ("",)
    return (milliseconds(row.decoded.median_s) + (" ~" if row.decoded.noisy else ""),)


def finals(results: Results) -> list[tuple[Row, Row]]:
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


def target_label(row: Row) -> str:
    """Return the target with what the figure depends on."""
    elsewhere = f", for {row.made_for}, measured on this host" if row.made_for else ""
    return (
        f"{row.target} ({row.device}, {row.threads} thread{'s' * (row.threads > 1)}, "
        f"batch {row.batch_size}{elsewhere})"
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
