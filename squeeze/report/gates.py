"""Decide the gates from the measured rows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from squeeze.core import cpu
from squeeze.recipe.schema import (
    AccuracyGate,
    AgreementGate,
    CostGate,
    CoverageGate,
    Gate,
    LatencyGate,
    SizeGate,
)
from squeeze.report import tables
from squeeze.report.verdicts import IntervalRule
from squeeze.results import Estimate, GateResult, ModelRecord, Row, Verdict
from squeeze.tasks.reporting import percent, points

_NOTHING = "nothing to compare"
_UNCHANGED = "the shipped model is the baseline itself"


@dataclass(frozen=True)
class _Finding:
    """A limit, what was found, and the verdict."""

    limit: str
    found: str
    verdict: Verdict
    note: str = ""


@dataclass(frozen=True)
class _Asked:
    """A limit in words, and the least that the figure must be."""

    limit: str
    least: float


@dataclass(frozen=True)
class _Checked:
    """What gates are checked against on a target and batch size.

    Attributes:
        row: Of the recipe's last model; of its last float model where the target asks for that.
        baseline: The row it is compared with.
        missing: Why there is nothing to check, or None.
        unmeasured: Whether nothing at all was measured on the target.
        asks_for_float: Whether the target's ``precision`` is that of its float models.
    """

    row: Row
    baseline: Row
    missing: str | None = None
    unmeasured: bool = False
    asks_for_float: bool = False

    @property
    def label(self) -> str:
        """The target, and the batch size where it is not 1."""
        row = self.row
        return row.target if row.batch_size == 1 else f"{row.target}, batch {row.batch_size}"

    @property
    def holds_no_int8(self) -> bool:
        """Whether the target's model is not int8 and is not meant to be."""
        return self.asks_for_float or (self.missing is None and self.row.coverage is None)

    def result(self, gate: Gate, finding: _Finding) -> GateResult:
        """Return what a gate found here."""
        return GateResult(
            gate=gate.metric,
            target=self.label,
            model=self.row.model,
            limit=finding.limit,
            found=finding.found,
            verdict=finding.verdict,
            note=finding.note,
        )


def decide(
    gates: Sequence[Gate],
    rows: Sequence[Row],
    models: Sequence[ModelRecord],
    rule: IntervalRule,
) -> list[GateResult]:
    """Return one result per gate, limit and row of the last model.

    Figures with an interval (accuracy, its change, agreement, speed-up) are decided by it; a median
    latency, sizes, costs and coverage by the figure itself.

    What cannot be checked does not pass: a gate fails if the last model has no file for its target,
    or if its target was skipped. Without ``target``, a gate is checked on all targets that were
    measured. A step that missed its own goal is a failed gate too.

    Args:
        gates: The recipe's.
        rows: Of all models on all targets.
        models: In the order of the recipe.
        rule: For gates that have none of their own.
    """
    found = [
        GateResult(
            gate=model.missed_goal.aim,
            target=None,
            model=model.name,
            limit=model.missed_goal.limit,
            found=model.missed_goal.found,
            verdict="fail",
            note=model.missed_goal.hint,
        )
        for model in models
        if model.missed_goal is not None
    ]
    for gate in gates:
        if isinstance(gate, CostGate):
            found += [
                GateResult(
                    gate=gate.metric,
                    target=None,
                    model=models[-1].name,
                    limit=finding.limit,
                    found=finding.found,
                    verdict=finding.verdict,
                    note=finding.note,
                )
                for finding in _cost(gate, models)
            ]
        else:
            found += _on_targets(gate, rows, models, rule)
    return found


def _on_targets(
    gate: Gate, rows: Sequence[Row], models: Sequence[ModelRecord], rule: IntervalRule
) -> list[GateResult]:
    wanted = getattr(gate, "target", None)
    results = []
    for checked in _checked(rows, models):
        if wanted not in {None, checked.row.target} or (wanted is None and checked.unmeasured):
            continue
        if isinstance(gate, CoverageGate) and wanted is None and checked.holds_no_int8:
            continue  # without a target the gate is about int8 files
        if checked.missing is not None:
            missing = _Finding("measured", "not measured", "fail", checked.missing)
            results.append(checked.result(gate, missing))
            continue
        results += [checked.result(gate, finding) for finding in _check(gate, checked, rule)]
    if not results:
        results.append(
            GateResult(
                gate=gate.metric,
                target=wanted,
                model=models[-1].name,
                limit="measured",
                found="not measured",
                verdict="fail",
                note="no target has this figure",
            )
        )
    return results


def _checked(rows: Sequence[Row], models: Sequence[ModelRecord]) -> Iterator[_Checked]:
    """Yield the row of the recipe's last model per target and batch size, or why there is none."""
    order = {model.name: number for number, model in enumerate(models)}
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.target, row.batch_size), []).append(row)
    for group in groups.values():
        group.sort(key=lambda row: order.get(row.model, 0))
        last, baseline = group[-1], group[0]
        measured = [row for row in group if row.skipped is None]
        if last.skipped is None:
            missing = None
            if last.model != models[-1].name:
                missing = f"{models[-1].name} has no file for this target"
            yield _Checked(last, baseline, missing)
            continue
        # the float models of a target that asks for their precision are meant to ship
        meant = [row for row in measured if row.precision == last.precision]
        if len(meant) > 1:
            yield _Checked(meant[-1], baseline, asks_for_float=True)
        else:
            asks, nothing, missing = bool(meant), not measured, last.skipped
            if len(measured) > 1 and not asks:
                missing += "; if that is intended, set precision: fp32 on the target"
            yield _Checked(last, baseline, missing, unmeasured=nothing, asks_for_float=asks)


def _check(gate: Gate, checked: _Checked, rule: IntervalRule) -> Iterable[_Finding]:
    row = checked.row
    if isinstance(gate, AccuracyGate):
        yield from _accuracy(gate, row, _own(gate, rule))
    elif isinstance(gate, AgreementGate):
        yield from _agreement(gate, row, _own(gate, rule))
    elif isinstance(gate, LatencyGate):
        yield from (_here(gate, row, each) for each in _latency(gate, row, _own(gate, rule)))
    elif isinstance(gate, SizeGate):
        yield from _size(gate, row, checked.baseline)
    elif isinstance(gate, CoverageGate):
        yield from (_here(gate, row, finding) for finding in _coverage(gate, row))


def _own(gate: AccuracyGate | AgreementGate | LatencyGate, rule: IntervalRule) -> IntervalRule:
    """Return the recipe's rule with what the gate says of its own."""
    return IntervalRule(
        rule.confidence if gate.confidence is None else gate.confidence,
        gate.on_inconclusive or rule.on_inconclusive,
    )


def _here(gate: LatencyGate | CoverageGate, row: Row, finding: _Finding) -> _Finding:
    """Return the finding, or that this host cannot tell."""
    if row.made_for is None:
        return finding
    return _Finding(
        finding.limit,
        f"{finding.found} on this host",
        "fail" if gate.on_not_measurable == "fail" else "not_measurable",
        f"not measurable here: the target is {row.made_for}, {cpu.difference(row.made_for)}",
    )


def _passes(holds: bool) -> Verdict:  # noqa: FBT001  (reads as the sentence it is)
    return "pass" if holds else "fail"


def _accuracy(gate: AccuracyGate, row: Row, rule: IntervalRule) -> Iterable[_Finding]:
    if row.accuracy is None:
        return
    samples, figure = row.accuracy.samples, row.accuracy.figure(gate.metric)
    if figure is None:
        note = f"metric '{gate.metric}' is not available for {row.accuracy.kind}"
        yield _Finding("measured", "not available", "fail", note)
        return
    if gate.min is not None:
        shown = percent(figure.at(rule.confidence))
        yield _of_samples(_Asked(f">= {gate.min:.1%}", gate.min), figure, shown, samples, rule)
    if gate.max_drop is not None:
        limit = f"change >= {-100 * gate.max_drop:.2f} points"
        drop = row.change.drop_of(gate.metric) if row.change is not None else None
        if drop is None:
            yield _Finding(limit, _NOTHING, "fail", _UNCHANGED)
            return
        shown = points(drop.at(rule.confidence))
        yield _of_samples(_Asked(limit, -gate.max_drop), -drop, shown, samples, rule)


def _of_samples(
    asked: _Asked, figure: Estimate, shown: str, samples: int, rule: IntervalRule
) -> _Finding:
    """Decide a figure that more samples would make more certain."""
    undecided = rule.verdict(figure, asked.least)
    verdict, note = rule.counted(undecided)
    if undecided == "inconclusive":
        needed = rule.samples_to_decide(figure, asked.least, samples)
        note = "; ".join(filter(None, (note, needed)))
    return _Finding(asked.limit, shown, verdict, note)


def _agreement(gate: AgreementGate, row: Row, rule: IntervalRule) -> Iterable[_Finding]:
    limit = f">= {gate.min:.1%}"
    if row.change is None or row.accuracy is None:
        yield _Finding(limit, _NOTHING, "fail", _UNCHANGED)
    else:
        agreement, samples = row.change.agreement, row.accuracy.samples
        shown = percent(agreement.at(rule.confidence))
        yield _of_samples(_Asked(limit, gate.min), agreement, shown, samples, rule)


def _latency(gate: LatencyGate, row: Row, rule: IntervalRule) -> Iterable[_Finding]:
    if row.latency is None:
        return
    noise = "noisy timing" if row.latency.noisy else ""
    if gate.min_speedup is not None:
        limit, speedup = f">= {gate.min_speedup:g}x", row.speedup
        if speedup is None:
            yield _Finding(limit, _NOTHING, "fail", _UNCHANGED)
        else:
            verdict, note = rule.counted(rule.verdict(speedup, gate.min_speedup))
            note = "; ".join(filter(None, (note, noise)))
            yield _Finding(limit, tables.ratio(speedup.at(rule.confidence)), verdict, note)
    if gate.max_latency_s is not None:
        yield _Finding(
            f"<= {1e3 * gate.max_latency_s:g} ms",
            f"{1e3 * row.latency.median_s:.3g} ms",
            _passes(row.latency.median_s <= gate.max_latency_s),
            noise,
        )


def _size(gate: SizeGate, row: Row, baseline: Row) -> Iterable[_Finding]:
    if row.size_bytes is None:
        return
    if gate.max_bytes is not None:
        limit = f"<= {gate.max_bytes:,} bytes"
        yield _Finding(limit, f"{row.size_bytes:,}", _passes(row.size_bytes <= gate.max_bytes))
    if gate.min_reduction is not None and baseline.size_bytes:
        limit = f">= {gate.min_reduction:g}x smaller"
        if row is baseline:
            yield _Finding(limit, _NOTHING, "fail", _UNCHANGED)
            return
        ratio = baseline.size_bytes / row.size_bytes
        yield _Finding(limit, f"{ratio:.2f}x", _passes(ratio >= gate.min_reduction))


def _coverage(gate: CoverageGate, row: Row) -> Iterable[_Finding]:
    limit = f">= {gate.min:.0%}"
    if row.coverage is None:
        yield _Finding(limit, "no int8", "fail", f"the file is {row.precision}")
    else:
        share = row.coverage.int8 / max(row.coverage.total, 1)
        found = f"{row.coverage.int8} of {row.coverage.total}"
        yield _Finding(limit, found, _passes(share >= gate.min))


def _cost(gate: CostGate, models: Sequence[ModelRecord]) -> Iterable[_Finding]:
    first, last = (getattr(model, gate.metric) for model in (models[0], models[-1]))
    if gate.max is not None:
        yield _Finding(f"<= {gate.max:,}", f"{last:,}", _passes(last <= gate.max))
    if gate.min_reduction is not None:
        limit, ratio = f">= {gate.min_reduction:g}x fewer", first / max(last, 1)
        if len(models) == 1:
            yield _Finding(limit, _NOTHING, "fail", _UNCHANGED)
        else:
            yield _Finding(limit, f"{ratio:.2f}x", _passes(ratio >= gate.min_reduction))
