"""The goal of a prune step: ratios, a cost on paper, or a measured speed-up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from squeeze.core import cpu
from squeeze.measure import cost as measured_cost
from squeeze.pruning import budget, latency, ranking
from squeeze.pruning.cost import CostModel
from squeeze.pruning.graph import narrowed
from squeeze.pruning.groups import PruningGroups
from squeeze.pruning.ranking import Kept, Limits
from squeeze.pruning.variant_timer import VariantTimer
from squeeze.recipe.schema import Cut, PruneStep, Speedup
from squeeze.results import Estimate, MissedGoal
from squeeze.runtimes.runtime import load as load_runtime
from squeeze.store import key_of, scratch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from squeeze.core.types import Progress
    from squeeze.models.types import Model

_FLOAT_BYTES = 4


@dataclass(frozen=True)
class ScoredGroups:
    """What widths are chosen from.

    Attributes:
        model: The model at the start of the round.
        found: Its groups.
        scores: Per unit, of the groups that have any.
        in_loss_units: Whether they add up between groups.
        limits: Alignment and the most that may go.
        share: How much of the whole way is done after this round, (0, 1].
        ratios: Fraction to remove by group, of the original channels; empty for other aims.
    """

    model: "Model"
    found: PruningGroups
    scores: "Mapping[str, Tensor]"
    in_loss_units: bool
    limits: Limits
    share: float
    ratios: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ChosenWidths:
    """Units kept by group, notes for the report, and the aim where they miss it."""

    kept: Kept
    notes: list[str]
    missed_goal: MissedGoal | None = None


class Goal(Protocol):
    """Chooses widths.

    Attributes:
        by_ratio: Whether it wants ``ScoredGroups.ratios``.
    """

    by_ratio: bool

    def choose(self, now: ScoredGroups) -> ChosenWidths:
        """Return the widths after a round."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


def open_goal(model: "Model", step: PruneStep, progress: "Progress") -> Goal:
    """Return the step's aim; costs and speed-ups are against ``model``."""
    if step.speedup is not None:
        return SpeedupGoal(model, step.speedup, progress, tune_align=step.align == "auto")
    if step.macs is not None:
        return CostGoal("MACs", model, step.macs, measured_cost.macs, progress)
    if step.params is not None:
        return CostGoal("params", model, step.params, measured_cost.params, progress)
    if step.size is not None:
        return CostGoal("bytes", model, step.size, _file_bytes, progress)
    return RatioGoal(step.ranking)


class RatioGoal:
    """Removes fractions of the channels."""

    by_ratio = True

    def __init__(self, scope: str) -> None:
        self._scope = scope

    def choose(self, now: ScoredGroups) -> ChosenWidths:
        """Return the widths after a round."""
        ratios = {name: ratio * now.share for name, ratio in now.ratios.items()}
        names = ratios.keys() & now.scores.keys()
        groups = [group for group in now.found.prunable if group.name in names]
        return ChosenWidths(
            ranking.by_ratio(groups, now.scores, now.limits, ratios, self._scope), []
        )

    def close(self) -> None:
        """Hold nothing."""


class CostGoal:
    """Removes channels until MACs, params or the file's bytes have fallen far enough."""

    by_ratio = False

    def __init__(
        self,
        unit: str,
        model: "Model",
        cut: Cut,
        measure: "Callable[[Model], int]",
        progress: "Progress",
    ) -> None:
        self._unit, self._measure, self._progress = unit, measure, progress
        self._full = measure(model)
        self._goal = cut.at_most or self._full / (cut.times_fewer or 1)

    def choose(self, now: ScoredGroups) -> ChosenWidths:
        """Return the widths after a round."""
        model = CostModel(now.found, now.model.input)
        groups = [group for group in now.found.prunable if group.name in now.scores]
        units = {group.name: group.units for group in groups}
        losses = budget.losses(groups, now.scores, in_loss_units=now.in_loss_units)
        goal = self._full * (self._goal / self._full) ** now.share
        every = now.found.prunable

        def on_paper(shares: "NDArray[np.float64]") -> float:
            if self._unit == "MACs":
                return float(model.macs(shares).sum())
            weights = float(model.weights(shares).sum())
            return weights * _FLOAT_BYTES if self._unit == "bytes" else weights

        def by_group(shares: "NDArray[np.float64]") -> float:
            kept = dict(zip(units, shares, strict=True))
            return on_paper(_every_share(every, kept))

        def find(aim: float) -> Kept:
            return budget.widths(groups, losses, now.limits, by_group, aim)

        found = budget.search(
            find,
            lambda kept: by_group(latency.shares_of(kept, list(units), units)),
            lambda kept: float(self._measure(narrowed(now.model, now.found, kept))),
            goal,
            self._progress,
            show=lambda amount: f"{amount:,.0f} {self._unit}",
        )
        fewer = f"{self._full / found.measured:.2f}x fewer than at first"
        note = f"{found.measured:,.0f} {self._unit}, {fewer} (goal {goal:,.0f})"
        missed = MissedGoal(
            aim=self._unit, limit=f"at most {goal:,.0f}", found=f"{found.measured:,.0f} at best"
        )
        return ChosenWidths(found.kept, [note], None if found.met else missed)

    def close(self) -> None:
        """Hold nothing."""


class SpeedupGoal:
    """Removes channels until the model is measured to be fast enough in its runtime."""

    by_ratio = False

    def __init__(
        self, model: "Model", speedup: Speedup, progress: "Progress", *, tune_align: bool
    ) -> None:
        self._speedup, self._progress, self._tune_align = speedup, progress, tune_align
        self._watch = VariantTimer(model, speedup)

    def choose(self, now: ScoredGroups) -> ChosenWidths:
        """Return the widths after a round."""
        cost = CostModel(now.found, now.model.input)
        every = now.found.prunable
        groups = [group for group in every if group.name in now.scores]
        names, units = [group.name for group in groups], {g.name: g.units for g in every}
        losses = budget.losses(groups, now.scores, in_loss_units=now.in_loss_units)
        table = self._table(now, cost)
        fitted = latency.LatencyModel(cost, table.points, units)
        limits = replace(now.limits, align=table.align)
        at_start = 1.0
        if now.model is not self._watch.model:
            at_start = 1 / self._watch.speedup(now.model).value

        def predict(shares: "NDArray[np.float64]") -> float:
            kept = dict(zip(names, shares, strict=True))
            return at_start * fitted(_every_share(every, kept))

        seen: dict[str, Estimate] = {}

        def measure(kept: Kept) -> float:
            speedup = self._watch.speedup(narrowed(now.model, now.found, kept), self._progress)
            seen[str(kept)] = speedup
            return 1 / speedup.value

        found = budget.search(
            lambda aim: budget.widths(groups, losses, limits, predict, aim),
            lambda kept: predict(latency.shares_of(kept, names, units)),
            measure,
            self._speedup.at_least**-now.share,
            self._progress,
            show=lambda latency: f"{1 / latency:.2f}x",
        )
        source = " (from the cache)" if table.cached else ""
        how = (
            f"latency table of {len(table.points)} models{source}, fitted to {fitted.error:.1%} "
            f"on average; channels aligned to {limits.align}"
        )
        return self._chosen(now, found, seen[str(found.kept)], how)

    def _chosen(
        self, now: ScoredGroups, found: budget.FittingWidths, measured: Estimate, how: str
    ) -> ChosenWidths:
        """Return the widths that were found, with what to note of them."""
        wanted = self._speedup
        place = f"{wanted.runtime}, {wanted.threads} thread(s), batch {wanted.batch_size}"
        if hasattr(now.model.module, "detector"):
            place += ", the network without decoding"
        shown = f"{measured.value:.2f}x [{measured.low:.2f}, {measured.high:.2f}]"
        note = (
            f"speed-up on {place}: predicted {1 / found.predicted:.2f}x, measured {shown}, goal "
            f"{wanted.at_least**now.share:.2f}x, {found.tries} widths tried"
        )
        missed = MissedGoal(
            aim=f"speed-up on {place}",
            limit=f"at least {wanted.at_least:.2f}x",
            found=f"{shown} at best",
        )
        return ChosenWidths(found.kept, [note, how], None if found.met else missed)

    def close(self) -> None:
        """Close the baseline's sessions."""
        self._watch.close()

    def _table(self, now: ScoredGroups, cost: CostModel) -> latency.Table:
        watch = VariantTimer(now.model, self._speedup)
        runtime = load_runtime(self._speedup.runtime)
        tensors = now.found.module.state_dict()
        key = key_of(
            now.model.architecture.build,
            now.model.architecture.args,  # strides and the like leave shapes as they are
            now.model.input.shape,
            {name: tuple(tensor.shape) for name, tensor in tensors.items()},
            [group.name for group in now.found.prunable],
            self._speedup.model_dump(exclude={"at_least"}),
            (cpu.host().model, runtime.version()),
            (now.limits.max_ratio, self._tune_align or now.limits.align),
        )

        def make() -> latency.Table:
            return latency.table(
                now.found,
                cost,
                lambda kept: watch.ratio(narrowed(now.model, now.found, kept)),
                now.limits,
                self._progress,
                tune_align=self._tune_align,
                shares=latency.FEW_SHARES if runtime.spec.slow_export else latency.SHARES,
            )

        try:
            return latency.cached(key, make, self._progress.warn)
        finally:
            watch.close()


def _every_share(every: tuple, kept: Mapping[str, float]) -> "NDArray[np.float64]":  # type: ignore[type-arg]
    """Return the shares of all groups; those without a score keep everything."""
    import numpy as np

    return np.array([kept.get(group.name, 1.0) for group in every])


def _file_bytes(model: "Model") -> int:
    """Return the size of the float file that ships, its description included."""
    from squeeze.exporting import file

    with scratch() as folder:
        return (
            file.write("model", model, load_runtime("onnxruntime"), 1, folder, None).stat().st_size
        )
