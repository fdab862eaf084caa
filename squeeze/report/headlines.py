"""What a run gained and what it cost, per target: the figures at the top of every report."""

from dataclasses import dataclass

from squeeze.report import tables
from squeeze.results import Results, Row
from squeeze.tasks import report_of


@dataclass(frozen=True)
class Headline:
    """The baseline and the last measured model of one target and batch size.

    Attributes:
        title: The target and the two models.
        figures: Name and value.
    """

    title: str
    figures: tuple[tuple[str, str], ...]


def headlines(results: Results) -> list[Headline]:
    """Return one headline per target and batch size on which more than the baseline was measured.

    HTML, Markdown and terminal show all of them.
    """
    return [
        Headline(
            f"{after.target}, batch {after.batch_size}{tables.elsewhere(after)}: "
            f"{before.model} → {after.model}",
            (
                *_accuracy(results.task, before, after),
                *_latency(before, after),
                *_size(before, after),
            ),
        )
        for before, after in tables.finals(results)
    ]


def _accuracy(task: str, before: Row, after: Row) -> tuple[tuple[str, str], ...]:
    if before.accuracy is None or after.accuracy is None or after.change is None:
        return ()
    return report_of(task).headline(before.accuracy, after.accuracy, after.change)


def _latency(before: Row, after: Row) -> tuple[tuple[str, str], ...]:
    if before.latency is None or after.latency is None or after.speedup is None:
        return ()
    here = tables.of_this_host(after)
    alone = before.network_latency, after.network_latency
    name = "Latency" if alone[1] is None else "Latency with decoding"
    took = [tables.milliseconds(row.median_s) for row in (before.latency, after.latency)]
    found = [(name, f"{' → '.join(took)}{here}"), ("Speed-up", tables.ratio(after.speedup) + here)]
    if alone[0] and alone[1] and after.network_speedup:
        took = [tables.milliseconds(row.median_s) for row in alone if row]
        ratio = tables.ratio(after.network_speedup)
        found.append(("Network only", f"{' → '.join(took)}, {ratio}{here}"))
    return tuple(found)


def _size(before: Row, after: Row) -> tuple[tuple[str, str], ...]:
    if not before.size_bytes or not after.size_bytes:
        return ()
    smaller = before.size_bytes / after.size_bytes
    sizes = f"{tables.size(before.size_bytes)} → {tables.size(after.size_bytes)}"
    return (("Size", f"{sizes} ({smaller:.1f}x smaller)"),)
