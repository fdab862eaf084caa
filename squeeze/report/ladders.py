"""The search of mixed precision as tables: layers in float, the loss, latency, coverage."""

from collections.abc import Iterator
from dataclasses import dataclass

from squeeze.report import tables
from squeeze.results import Ladder, Results, Rung

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
class LadderTable:
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


def ladder_tables(results: Results) -> Iterator[LadderTable]:
    """Yield a table per file that was made with mixed precision."""
    for state in results.states:
        for ladder in state.ladders:
            place = f"{ladder.target}, batch {ladder.batch_size}{tables.elsewhere(ladder)}"
            yield LadderTable(
                f"{state.name}, {place}",
                _told(ladder),
                tuple(_cells(rung) for rung in ladder.rungs),
                _worst(ladder),
            )


def _told(ladder: Ladder) -> str:
    verdict = "holds it" if ladder.met else "is the best found: none holds it"
    return (
        f"Loss of {ladder.metric} against the float file on {ladder.samples} {ladder.source}; "
        f"limit {100 * ladder.max_drop:.2f} points. What ships (→) {verdict}. The float file takes "
        f"{tables.milliseconds(ladder.float_latency_s)}; latencies were taken in turns."
    )


def _cells(rung: Rung) -> tuple[str, ...]:
    more = len(rung.layers) - _SHOWN
    return (
        "→" if rung.chosen else "",
        str(len(rung.layers)),
        ", ".join(rung.layers[:_SHOWN]) + (f" and {more} more" if more > 0 else ""),
        f"{100 * rung.drop:.2f}",
        tables.milliseconds(rung.latency_s),
        tables.ratio(rung.speedup),
        tables.size(rung.size_bytes),
        f"{rung.int8} of {rung.total}",
    )


def _worst(ladder: Ladder) -> str:
    if not ladder.ranking:
        return ""
    first = [f"{each.layer} ({each.sqnr_db:.1f} dB)" for each in ladder.ranking[:_SHOWN]]
    return (
        f"Of {len(ladder.ranking)} layers these distort the output most when each alone is int8 "
        f"(signal to noise): {', '.join(first)}."
    )
