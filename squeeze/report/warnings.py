"""What a reader must know before trusting the figures."""

from collections.abc import Iterable, Iterator, Sequence

from squeeze.core import cpu
from squeeze.recipe import schemes
from squeeze.results import LayerTime, Row

_SHOWN = 4


def warnings(rows: Iterable[Row], noticed: Iterable[str]) -> Iterator[str]:
    """Yield the warnings of a run, those that make its other figures void first.

    Args:
        rows: All rows.
        noticed: What was seen when the data was read.
    """
    rows = [row for row in rows if row.skipped is None]
    yield from doubts(rows)
    yield from noticed
    yield from _noise(rows)
    for row in rows:
        if _is_quantized(row):
            yield from _quantized(row)
    for made_for in dict.fromkeys(row.made_for for row in rows if row.made_for):
        yield (
            f"The targets for {made_for} were measured on this host, which cannot stand for it "
            f"({cpu.difference(made_for)}): latency belongs to the hardware, and so do the "
            "speed-up and the kernel coverage; accuracy may differ where one of them saturates."
        )
    if any(row.runtime == "litert" for row in rows):
        yield (
            "LiteRT was timed on this host's processor, which is no phone: its ratios do not "
            "carry over to one."
        )


def doubts(rows: Sequence[Row]) -> Iterator[str]:
    """Yield which models are right no more often than chance; the baseline comes first.

    Args:
        rows: At least the measured ones.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for doubt in row.accuracy.doubts if row.accuracy is not None else ():
            found.setdefault((row.model, doubt), []).append(row.target)
    first = rows[0].model if rows else ""
    for (state, doubt), targets in sorted(found.items(), key=lambda item: item[0][0] != first):
        places = ", ".join(dict.fromkeys(targets))
        so = ": drops, agreement and gates against it mean nothing" if state == first else ""
        yield f"{state} on {places} {doubt}{so}."


def _noise(rows: Sequence[Row]) -> Iterator[str]:
    noisy = sorted(
        {
            f"{row.target} {row.model}"
            for row in rows
            if row.latency is not None and row.latency.noisy
        }
    )
    if noisy:
        yield (
            f"Noisy timings (interquartile range over 10 % of the median): {', '.join(noisy)}. "
            "The machine was busy; trust the ratio's interval, not the milliseconds."
        )


def _is_quantized(row: Row) -> bool:
    """Whether the row is of a quantize step; a target's own precision is not."""
    return schemes.is_int8(row.precision) or (
        row.precision in {"fp16", "bf16"} and row.artifact is not None
    )


def _quantized(row: Row) -> Iterator[str]:
    storage_only = schemes.half_warning(
        row.precision, row.runtime, cpu.named(row.made_for or "host")
    )
    if storage_only is not None:
        yield f"{row.target}: {storage_only}."
        return
    if row.made_for is None and row.over_float is not None and row.over_float.high < 1:
        yield _slower(row)
    if row.coverage is not None and row.coverage.survivors:
        yield (
            f"{row.target}: {len(row.coverage.survivors)} of {row.coverage.total} convolutions "
            "and matrix products of the int8 file run in float."
        )
    if row.coverage is not None and row.coverage.slow:
        reasons = [node.reason for node in row.coverage.slow]
        yield (
            f"{row.target}: {len(reasons)} of {row.coverage.total} convolutions and matrix "
            "products run in integers, but in kernels slower than float ones: "
            f"{max(dict.fromkeys(reasons), key=reasons.count)}."
        )


def _slower(row: Row) -> str:
    """Say that a quantized file is slower than its float file, and which layers cost it."""
    ratio = row.over_float
    interval = f"{ratio.value:.2f}x [{ratio.low:.2f}, {ratio.high:.2f}]" if ratio else ""
    batch = "" if row.batch_size == 1 else f", batch {row.batch_size}"
    covered = ""
    if row.coverage is not None and not row.coverage.survivors and not row.coverage.slow:
        covered = f", although all {row.coverage.total} convolutions and matrix products are int8"
    if row.slow_layers is None:
        which = f"{row.runtime} tells no times of single layers, so what costs it is not known"
    elif row.slow_layers:
        more = len(row.slow_layers) - _SHOWN
        named = "; ".join(map(_layer, row.slow_layers[:_SHOWN]))
        which = f"what costs it: {named}{f' and {more} more' if more > 0 else ''}"
    else:
        which = "no single layer takes longer beyond noise"
    return (
        f"{row.target}{batch}: {row.precision} is slower here than the float "
        f"model it was made from ({interval}){covered}: its gain is size, not speed; {which}."
    )


def _layer(layer: LayerTime) -> str:
    times = 1e6 * layer.seconds, 1e6 * layer.float_seconds
    return f"{layer.name} {times[0]:.0f} against {times[1]:.0f} µs in float"
