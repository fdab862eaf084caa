"""Decide the gates from the rows that were measured."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from squeeze.recipe.schema import (
    AccuracyGate,
    AgreementGate,
    CostGate,
    CoverageGate,
    Gate,
    LatencyGate,
    SizeGate,
)
from squeeze.results import Estimate, GateResult, Row, State

_Finding = tuple[str, str, bool, str]
"""Limit, what was found, whether it passes, a note."""


def decide(gates: Sequence[Gate], rows: Sequence[Row], states: Sequence[State]) -> list[GateResult]:
    """Return one result per gate, limit and row of the final state.

    A gate whose target has no measured row fails: a gate that cannot be checked is not passed. A
    step that missed its own aim is a failed gate too.
    """
    found = [
        GateResult(
            gate=f"{state.name}: {state.unmet.aim}",
            target=None,
            limit=state.unmet.limit,
            found=state.unmet.found,
            passed=False,
            note=state.unmet.hint,
        )
        for state in states
        if state.unmet is not None
    ]
    for gate in gates:
        if isinstance(gate, CostGate):
            found += [
                GateResult(
                    gate=gate.metric,
                    target=None,
                    limit=limit,
                    found=value,
                    passed=passed,
                    note=note,
                )
                for limit, value, passed, note in _cost(gate, states)
            ]
        else:
            found += _on_rows(gate, rows, states)
    return found


def _on_rows(gate: Gate, rows: Sequence[Row], states: Sequence[State]) -> list[GateResult]:
    wanted = getattr(gate, "target", None)
    final = [row for row in _last(rows, states) if wanted in (None, row.target)]
    results = []
    for row in final:
        if row.skipped is not None:
            if wanted is not None:
                results.append(
                    GateResult(
                        gate=gate.metric,
                        target=row.target,
                        limit="measured",
                        found="not measured",
                        passed=False,
                        note=row.skipped,
                    )
                )
            continue
        if isinstance(gate, CoverageGate) and wanted is None and row.coverage is None:
            continue  # without a target the gate is about the int8 files there are
        label = row.target if row.batch_size == 1 else f"{row.target}, batch {row.batch_size}"
        baseline = next(r for r in rows if (r.target, r.batch_size) == (row.target, row.batch_size))
        results += [
            GateResult(
                gate=gate.metric, target=label, limit=limit, found=value, passed=passed, note=note
            )
            for limit, value, passed, note in _check(gate, row, baseline)
        ]
    if not results:
        results.append(
            GateResult(
                gate=gate.metric,
                target=wanted,
                limit="measured",
                found="nothing to measure",
                passed=False,
                note="no target gave this figure",
            )
        )
    return results


def _last(rows: Sequence[Row], states: Sequence[State]) -> Iterator[Row]:
    """Yield per target and batch size the row of the furthest state it could hold."""
    order = {state.name: number for number, state in enumerate(states)}
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.target, row.batch_size), []).append(row)
    for group in groups.values():
        measured = [row for row in group if row.skipped is None]
        yield max(measured or group, key=lambda row: order.get(row.state, 0))


def _check(gate: Gate, row: Row, baseline: Row) -> Iterable[_Finding]:
    if isinstance(gate, AccuracyGate):
        yield from _accuracy(gate, row)
    elif isinstance(gate, AgreementGate):
        agreement = row.change.agreement if row.change else 1.0
        yield f">= {gate.min:.1%}", f"{agreement:.1%}", agreement >= gate.min, ""
    elif isinstance(gate, LatencyGate):
        yield from _latency(gate, row)
    elif isinstance(gate, SizeGate):
        yield from _size(gate, row, baseline)
    elif isinstance(gate, CoverageGate):
        if row.coverage is None:
            yield f">= {gate.min:.0%}", "no int8", False, f"the file holds {row.precision}"
        else:
            share = row.coverage.int8 / max(row.coverage.total, 1)
            yield (
                f">= {gate.min:.0%}",
                f"{row.coverage.int8} of {row.coverage.total}",
                share >= gate.min,
                "",
            )


def _accuracy(gate: AccuracyGate, row: Row) -> Iterable[_Finding]:
    if row.accuracy is None:
        return
    value = row.accuracy.figure(gate.metric)
    if value is None:
        yield "measured", "no such figure", False, f"{gate.metric} is of another task"
        return
    if gate.min is not None:
        yield f">= {gate.min:.1%}", f"{value:.2%}", value >= gate.min, ""
    if gate.max_drop is not None:
        drop, note = 0.0, ""
        found = row.change.drop_of(gate.metric) if row.change is not None else None
        if found is not None:
            drop, note = found.value, _near(found, gate.max_drop, lambda v: f"{100 * v:+.2f}")
        # the figures are counts over samples: allow for the last bit of their division
        yield (
            f"drop <= {100 * gate.max_drop:.2f} points",
            f"{100 * drop:+.2f}",
            drop <= gate.max_drop + 1e-12,
            note,
        )


def _latency(gate: LatencyGate, row: Row) -> Iterable[_Finding]:
    if row.latency is None:
        return
    noise = "the timing was noisy" if row.latency.noisy else ""
    if gate.min_speedup is not None:
        speedup = row.speedup or Estimate(value=1, low=1, high=1)
        note = _near(speedup, gate.min_speedup, lambda v: f"{v:.2f}x")
        yield (
            f">= {gate.min_speedup:g}x",
            f"{speedup.value:.2f}x",
            speedup.value >= gate.min_speedup,
            "; ".join(filter(None, (note, noise))),
        )
    if gate.max_latency_s is not None:
        yield (
            f"<= {1e3 * gate.max_latency_s:g} ms",
            f"{1e3 * row.latency.median_s:.3g} ms",
            row.latency.median_s <= gate.max_latency_s,
            noise,
        )


def _near(found: Estimate, limit: float, show: Callable[[float], str]) -> str:
    if found.low <= limit <= found.high and found.low < found.high:
        return f"within noise: interval {show(found.low)} to {show(found.high)}"
    return ""


def _size(gate: SizeGate, row: Row, baseline: Row) -> Iterable[_Finding]:
    if row.size_bytes is None:
        return
    if gate.max_bytes is not None:
        yield (
            f"<= {gate.max_bytes:,} bytes",
            f"{row.size_bytes:,}",
            row.size_bytes <= gate.max_bytes,
            "",
        )
    if gate.min_reduction is not None and baseline.size_bytes:
        ratio = baseline.size_bytes / row.size_bytes
        yield (
            f">= {gate.min_reduction:g}x smaller",
            f"{ratio:.2f}x",
            ratio >= gate.min_reduction,
            "",
        )


def _cost(gate: CostGate, states: Sequence[State]) -> Iterable[_Finding]:
    first, last = (getattr(state, gate.metric) for state in (states[0], states[-1]))
    if gate.max is not None:
        yield f"<= {gate.max:,}", f"{last:,}", last <= gate.max, ""
    if gate.min_reduction is not None:
        ratio = first / max(last, 1)
        yield f">= {gate.min_reduction:g}x fewer", f"{ratio:.2f}x", ratio >= gate.min_reduction, ""
