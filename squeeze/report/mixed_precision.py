"""The search of mixed precision as tables: layers in float, the loss, latency, coverage."""

from collections.abc import Iterator
from dataclasses import dataclass

from squeeze.report import tables
from squeeze.results import MixedPrecisionSearch, MixedPrecisionTrial, Results

COLUMNS = (
    "",
    "Layers in float",
    "Which",
    "Loss, points",
    "Latency",
    "Speed-up over float",
    "Size",
    "Int8 kernels",
)
_SHOWN = 6


@dataclass(frozen=True)
class SearchTable:
    """One file's search.

    Attributes:
        title: Model, target and batch size.
        told: What was measured, on what, and whether the limit is held.
        rows: One per mixture, by the number of layers in float.
        worst: The first layers of the ranking, in a sentence; empty where none was made.
    """

    title: str
    told: str
    rows: tuple[tuple[str, ...], ...]
    worst: str


def search_tables(results: Results) -> Iterator[SearchTable]:
    """Yield a table per file that was made with mixed precision."""
    for state in results.models:
        for search in state.searches:
            place = f"{search.target}, batch {search.batch_size}{tables.elsewhere(search)}"
            yield SearchTable(
                f"{state.name}, {place}",
                _told(search),
                tuple(_cells(trial) for trial in search.trials),
                _worst(search),
            )


def _told(search: MixedPrecisionSearch) -> str:
    verdict = "holds it" if search.met else "is the best found: none holds it"
    return (
        f"Loss of {search.metric} against the float file on {search.samples} {search.source}; "
        f"limit {100 * search.max_drop:.2f} points. What ships (→) {verdict}. The float file takes "
        f"{tables.milliseconds(search.float_latency_s)}; latencies were taken in turns."
    )


def _cells(trial: MixedPrecisionTrial) -> tuple[str, ...]:
    more = len(trial.layers) - _SHOWN
    return (
        "→" if trial.chosen else "",
        str(len(trial.layers)),
        ", ".join(trial.layers[:_SHOWN]) + (f" and {more} more" if more > 0 else ""),
        f"{100 * trial.drop:.2f}",
        tables.milliseconds(trial.latency_s),
        tables.ratio(trial.speedup),
        tables.size(trial.size_bytes),
        f"{trial.int8} of {trial.total}",
    )


def _worst(search: MixedPrecisionSearch) -> str:
    if not search.ranking:
        return ""
    first = [f"{each.layer} ({each.sqnr_db:.1f} dB)" for each in search.ranking[:_SHOWN]]
    return (
        f"Of {len(search.ranking)} layers these distort the output most when each alone is int8 "
        f"(signal to noise): {', '.join(first)}."
    )
