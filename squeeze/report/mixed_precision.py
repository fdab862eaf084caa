"""The mixed-precision search as tables: layers in float, drop, latency, coverage."""

from collections.abc import Iterator
from dataclasses import dataclass

from squeeze.report import tables
from squeeze.results import MixedPrecisionSearch, MixedPrecisionTrial, Results

COLUMNS = (
    "",
    "Layers in float",
    "Which layers",
    "Drop, points",
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
        summary: What was measured, on what, and whether the limit is met.
        rows: One per trial, by the number of layers in float.
        worst: The most sensitive layers, in a sentence; empty where none were ranked.
    """

    title: str
    summary: str
    rows: tuple[tuple[str, ...], ...]
    worst: str


def search_tables(results: Results) -> Iterator[SearchTable]:
    """Yield a table per file that was made with mixed precision."""
    for model in results.models:
        for search in model.searches:
            place = f"{search.target}, batch {search.batch_size}{tables.elsewhere(search)}"
            yield SearchTable(
                f"{model.name}, {place}",
                _summary(search),
                tuple(_cells(trial) for trial in search.trials),
                _worst(search),
            )


def _summary(search: MixedPrecisionSearch) -> str:
    verdict = "meets the limit" if search.met else "is the best found: no trial meets the limit"
    return (
        f"Drop of {search.metric} against the float file on {search.samples} {search.source}; "
        f"limit {100 * search.max_drop:.2f} points. The shipped file (→) {verdict}. Latency of the "
        f"float file: {tables.milliseconds(search.float_latency_s)}; all were timed interleaved."
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
        f"Of {len(search.ranking)} layers, these distort the output most when quantized alone "
        f"(SQNR): {', '.join(first)}."
    )
