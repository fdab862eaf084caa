"""How a runtime's latency depends on every group's width: measured, fitted, cached.

Groups are narrowed all together, at several alignments, and one at a time, and each such model is
timed in the real runtime beside the full one. A share of the time is then fitted to every layer
(non-negative least squares), which makes a model that can be asked for any widths. It only guides
the search: what the search finds is measured again as a whole.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field, TypeAdapter

from squeeze.core.errors import SqueezeError
from squeeze.pruning.cost import CostModel
from squeeze.pruning.groups import PruningGroups
from squeeze.pruning.ranking import Kept, Limits
from squeeze.store import checksums, write_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from squeeze.core.types import Progress

SHARES = (0.25, 0.5, 0.75)
"""Kept shares at which single groups are timed."""
FEW_SHARES = (0.5,)
"""The same where every point takes seconds to convert."""
_ALIGNS = (2, 4, 8, 16, 32)
_TOGETHER = (0.45, 0.7)
_NEAR_BEST = 1.05
_ABLE = 0.5
_PRIOR_WEIGHT = 0.05
_TOTAL_WEIGHT = 3.0
_OVERHEAD = 0.1


@dataclass(frozen=True)
class Point:
    """Some widths and what they took.

    Attributes:
        kept: Units by group; the others keep all.
        ratio: Latency over that of the full model.
        align: The alignment tried out, where all groups were narrowed together.
    """

    kept: Kept
    ratio: float
    align: int | None = None


@dataclass(frozen=True)
class Table:
    """Timed models.

    Attributes:
        points: Widths with their latency, at least one.
        align: What kept channels are to be multiples of.
        cached: Whether the times come from an earlier call on this machine.
    """

    points: Annotated[list[Point], Field(min_length=1)]
    align: Annotated[int, Field(gt=0)]
    cached: bool = False


def table(
    survey: PruningGroups,
    cost: CostModel,
    ratio_of: Callable[[Kept], float],
    limits: Limits,
    progress: "Progress",
    *,
    tune_align: bool,
    shares: Sequence[float] = SHARES,
) -> Table:
    """Time narrowed models.

    Args:
        survey: The model's groups.
        cost: Their costs on paper.
        ratio_of: Units kept by group to latency over the full model's.
        limits: The most that may go, and the alignment unless it is tuned.
        progress: Where the bar goes.
        tune_align: Take the smallest alignment whose time per MAC is near the best one's.
        shares: Kept shares at which single groups are timed.
    """
    aligns = _ALIGNS if tune_align else (limits.align,)
    together = _all_together(survey, limits, aligns)
    total = len(together) + len(survey.prunable) * len(shares)
    with progress.task("latency table", total) as advance:

        def timed(point: Point) -> Point:
            advance()
            return replace(point, ratio=ratio_of(point.kept))

        points = [timed(point) for point in together]
        align = _best_align(points, survey, cost) if tune_align else limits.align
        singles = _one_at_a_time(survey, replace(limits, align=align), shares)
        points += [timed(point) for point in singles]
    return Table(points, align)


def cached(key: str, make: Callable[[], Table], warn: Callable[[str], None]) -> Table:
    """Return the table of an earlier call with this key, or make and keep it.

    The cache lies in ``$XDG_CACHE_HOME/squeeze`` (``~/.cache/squeeze``) and may be deleted.

    Args:
        key: Of what is timed, and where.
        make: Times it.
        warn: Told of a table that is damaged and made again.
    """
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    place = Path(root) / "squeeze" / "latency" / f"{key}.json"
    if place.is_file():
        try:
            kept = json.loads(place.read_bytes())
            if kept["sha256"] != checksums.of_plain([key, kept["table"]]):
                raise ValueError("its SHA-256 is not the recorded one")  # noqa: TRY301
            return replace(TypeAdapter(Table).validate_python(kept["table"]), cached=True)
        except (ValueError, OSError, KeyError, TypeError) as error:
            warn(f"{place}: the latency table is damaged, measuring it again: {error!r}")
    made = make()
    table = asdict(made)
    with suppress(OSError, SqueezeError):  # only a cache
        digest = checksums.of_plain([key, table])
        write_text(place, json.dumps({"sha256": digest, "table": table}))
    return made


class LatencyModel:
    """Latency over that of the full model, as a function of the groups' kept shares."""

    def __init__(self, cost: CostModel, points: "list[Point]", units: Mapping[str, int]) -> None:
        from scipy.optimize import nnls

        self._cost = cost
        full = np.ones(len(cost.names))
        self._macs = np.maximum(cost.macs(full), 1.0)
        rows = np.stack([self._features(shares_of(p.kept, cost.names, units)) for p in points])
        # a weak pull towards "time goes by MACs" decides what the points leave open
        prior = self._macs / self._macs.sum() * (1 - _OVERHEAD)
        prior = np.concatenate([[_OVERHEAD], prior])
        total = np.full(len(prior), _TOTAL_WEIGHT)
        system = np.vstack([rows, total, np.eye(len(prior)) * _PRIOR_WEIGHT])
        ratios = [point.ratio for point in points]
        aim = np.concatenate([ratios, [_TOTAL_WEIGHT], prior * _PRIOR_WEIGHT])
        self._times, _ = nnls(system, aim)
        self.error = float(np.abs(rows @ self._times - [p.ratio for p in points]).mean())

    def __call__(self, shares: "NDArray[np.float64]") -> float:
        """Return the predicted ratio."""
        return float(self._features(shares) @ self._times)

    def _features(self, shares: "NDArray[np.float64]") -> "NDArray[np.float64]":
        return np.concatenate([[1.0], self._cost.macs(shares) / self._macs])


def shares_of(kept: Kept, names: "list[str]", units: Mapping[str, int]) -> "NDArray[np.float64]":
    """Return kept units as shares, in the order of ``names``."""
    return np.array([kept.get(name, units[name]) / units[name] for name in names])


def _all_together(survey: PruningGroups, limits: Limits, aligns: Sequence[int]) -> list[Point]:
    found = []
    for align in aligns:
        aligned = replace(limits, align=align)
        for share in _TOGETHER:
            kept = {g.name: aligned.nearest(g, g.units * share) for g in survey.prunable}
            found.append(Point(kept, 0.0, align))
    return found


def _one_at_a_time(survey: PruningGroups, limits: Limits, shares: Sequence[float]) -> list[Point]:
    found = []
    for group in survey.prunable:
        widths = {limits.nearest(group, group.units * share) for share in shares}
        found += [Point({group.name: kept}, 0.0) for kept in widths if kept < group.units]
    return found


def _best_align(points: Sequence[Point], survey: PruningGroups, cost: CostModel) -> int:
    """Return the smallest alignment that is nearly the fastest at equal MACs.

    Coarse alignments keep more channels, so times are compared at the same MACs, between the
    measured points. Those too coarse to halve the MACs are out.
    """
    units = {group.name: group.units for group in survey.prunable}
    full = cost.macs(np.ones(len(cost.names))).sum()
    curves: dict[int, list[tuple[float, float]]] = {}
    for point in points:
        macs = cost.macs(shares_of(point.kept, cost.names, units)).sum() / full
        curves.setdefault(point.align or 1, [(1.0, 1.0)]).append((float(macs), point.ratio))
    able = {align: sorted(c) for align, c in curves.items() if min(c)[0] <= _ABLE}
    if not able:
        return min(curves)
    start = max(curve[0][0] for curve in able.values())
    at = np.linspace(start, (1 + start) / 2, 5)
    times = {
        align: float(np.interp(at, [m for m, _ in curve], [t for _, t in curve]).mean())
        for align, curve in able.items()
    }
    best = min(times.values())
    return min(align for align, time in times.items() if time <= best * _NEAR_BEST)
