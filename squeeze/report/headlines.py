"""What a run gained and what it cost, per target: the figures that every report starts with."""

from dataclasses import dataclass

from squeeze.report import tables
from squeeze.results import DetectionAccuracy, DetectionChange, Results, Row


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

    HTML, Markdown and terminal show all of them, so that none knows more than another.
    """
    return [
        Headline(
            f"{after.target}, batch {after.batch_size}{tables.elsewhere(after)}: "
            f"{before.model} → {after.model}",
            (*_accuracy(before, after), *_latency(before, after), *_size(before, after)),
        )
        for before, after in tables.finals(results)
    ]


def _accuracy(before: Row, after: Row) -> tuple[tuple[str, str], ...]:
    if before.accuracy is None or after.accuracy is None or after.change is None:
        return ()
    name, was = before.accuracy.headline
    now, change = after.accuracy.headline[1], after.change
    found = [(_capital(name), f"{_to(was.value, now.value)} ({tables.points(change.drop)} points)")]
    same = f"{change.agreement:.1%}"
    if isinstance(change, DetectionChange):
        at_half = [
            row.accuracy.ap50.value
            for row in (before, after)
            if isinstance(row.accuracy, DetectionAccuracy)
        ]
        found.append(("AP50", f"{_to(*at_half)} ({tables.points(change.ap50_drop)} points)"))
        found.append(("Agreement: baseline's detections found too", same))
    else:
        found.append(("Agreement: same class as baseline", f"{same} of {after.accuracy.samples}"))
    return tuple(found)


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
        found.append(("Network alone", f"{' → '.join(took)}, {ratio}{here}"))
    return tuple(found)


def _size(before: Row, after: Row) -> tuple[tuple[str, str], ...]:
    if not before.size_bytes or not after.size_bytes:
        return ()
    smaller = before.size_bytes / after.size_bytes
    sizes = f"{tables.size(before.size_bytes)} → {tables.size(after.size_bytes)}"
    return (("Size", f"{sizes} ({smaller:.1f}x smaller)"),)


def _to(before: float, after: float) -> str:
    return f"{100 * before:.2f} % → {100 * after:.2f} %"


def _capital(name: str) -> str:
    return name if name == "mAP" else name.capitalize()
