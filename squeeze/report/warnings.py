"""What a reader must know before relying on the figures."""

from collections.abc import Iterable, Iterator, Sequence

from squeeze.core import cpu, specs
from squeeze.recipe import schemes
from squeeze.results import GateResult, LayerTime, Row

_SHOWN = 4


def warnings(rows: Iterable[Row], noticed: Iterable[str]) -> Iterator[str]:
    """Yield the warnings of a run; those that make its other figures meaningless come first.

    Args:
        rows: All rows.
        noticed: Warnings from reading the data.
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
            f"Targets for {made_for} were measured on this host, which cannot stand in for it "
            f"({cpu.difference(made_for)}): latency, speed-up and kernel coverage depend on the "
            "hardware, and accuracy may differ where one of the two saturates."
        )
    known = specs.runtimes()  # a report may be written where a plug-in is missing
    measured = [known[row.runtime] for row in rows if row.runtime in known]
    yield from dict.fromkeys(spec.host_caveat for spec in measured if spec.host_caveat)


def undecided(gates: Iterable[GateResult]) -> Iterator[str]:
    """Yield a warning for every gate that the samples or the timings do not decide."""
    for gate in gates:
        if gate.verdict == "inconclusive":
            place = f" on {gate.target}" if gate.target else ""
            note = f"; {gate.note}" if gate.note else ""
            yield (
                f"Gate {gate.gate}{place} is inconclusive: {gate.found}, the limit {gate.limit} "
                f"lies inside the interval{note}."
            )


def doubts(rows: Sequence[Row]) -> Iterator[str]:
    """Yield which models are no better than chance; the baseline comes first.

    Args:
        rows: At least the measured ones.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for doubt in row.accuracy.doubts if row.accuracy is not None else ():
            found.setdefault((row.model, doubt), []).append(row.target)
    first = rows[0].model if rows else ""
    for (model, doubt), targets in sorted(found.items(), key=lambda item: item[0][0] != first):
        places = ", ".join(dict.fromkeys(targets))
        so = ": drops, agreement and gates against it mean nothing" if model == first else ""
        yield f"{model} on {places} {doubt}{so}."


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
            f"Noisy timings (interquartile range above 10 % of the median): {', '.join(noisy)}. "
            "The machine was busy: rely on the interval of the speed-up, not on the milliseconds."
        )


def _is_quantized(row: Row) -> bool:
    """Tell whether a quantize step made the row's file, rather than the target's precision."""
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
            "products run in integer kernels that are slower than float ones: "
            f"{max(dict.fromkeys(reasons), key=reasons.count)}."
        )


def _slower(row: Row) -> str:
    """Say that a quantized file is slower than its float file, and in which layers."""
    ratio = row.over_float
    interval = f"{ratio.value:.2f}x [{ratio.low:.2f}, {ratio.high:.2f}]" if ratio else ""
    batch = "" if row.batch_size == 1 else f", batch {row.batch_size}"
    covered = ""
    if row.coverage is not None and not row.coverage.survivors and not row.coverage.slow:
        covered = (
            f", although all {row.coverage.total} convolutions and matrix products run in int8"
        )
    if row.slow_layers is None:
        which = f"{row.runtime} does not time single layers, so the cause is unknown"
    elif row.slow_layers:
        more = len(row.slow_layers) - _SHOWN
        named = "; ".join(map(_layer, row.slow_layers[:_SHOWN]))
        which = f"slowest layers: {named}{f' and {more} more' if more > 0 else ''}"
    else:
        which = "no single layer is slower beyond noise"
    return (
        f"{row.target}{batch}: {row.precision} is slower on this host than the float model it was "
        f"made from ({interval}){covered}: it saves size, not time; {which}."
    )


def _layer(layer: LayerTime) -> str:
    times = 1e6 * layer.seconds, 1e6 * layer.float_seconds
    return f"{layer.name} ({times[0]:.0f} µs, {times[1]:.0f} in float)"
