"""How many units every group keeps: by a ratio, within layers or across them.

``local`` gives every group the ratio; ``global`` ranks all channels together; ``isomorphic`` ranks
together what is built alike.

Source: Fang et al., Isomorphic Pruning for Vision Models (https://arxiv.org/abs/2407.04616).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from squeeze.pruning.groups import ChannelGroup

if TYPE_CHECKING:
    from torch import Tensor

    Scores = Mapping[str, Tensor]
    """Group name to a score per unit ``(units,)``."""

Kept = dict[str, int]
"""Group name to the number of units that stay."""


@dataclass(frozen=True)
class Limits:
    """What no choice of widths may violate.

    Attributes:
        align: Kept channels are a multiple of this, where the group is that wide.
        max_ratio: Largest fraction of a group's channels that may go, [0, 1).
        original: Channels per group before the first round; ``max_ratio`` refers to them.
    """

    align: int
    max_ratio: float
    original: Mapping[str, int]

    def before(self, group: ChannelGroup) -> int:
        """Return the channels that the group had before the first round."""
        return self.original.get(group.name, group.channels)

    def step(self, group: ChannelGroup) -> int:
        """Return the smallest number of units that keeps the channels aligned."""
        return math.lcm(group.unit, self.align) // group.unit

    def least(self, group: ChannelGroup) -> int:
        """Return the fewest units that the group may keep."""
        step = self.step(group)
        channels = self.before(group) * (1 - self.max_ratio)
        units = max(1, math.ceil(round(channels, 6) / group.unit))
        return min(group.units, math.ceil(units / step) * step)

    def nearest(self, group: ChannelGroup, units: float) -> int:
        """Return the allowed number of units nearest to a wish; halves go down.

        All units are allowed, aligned or not: that group is as it was.
        """
        step = self.step(group)
        fewer = math.floor(round(units / step, 6)) * step
        more = min(fewer + step, group.units)
        aligned = more if round(more - units, 6) < round(units - fewer, 6) else fewer
        return max(self.least(group), min(aligned, group.units))


def by_ratio(
    groups: Sequence[ChannelGroup],
    scores: "Scores",
    limits: Limits,
    ratios: Mapping[str, float],
    scope: str,
) -> Kept:
    """Return the units that every group keeps.

    Args:
        groups: The prunable ones.
        scores: Of all of them.
        limits: Alignment and the most that may go.
        ratios: Group name to the fraction of its original channels to remove, [0, 1).
        scope: ``local``, ``global`` or ``isomorphic``.
    """
    if scope == "local":
        wishes = {g.name: limits.before(g) * (1 - ratios[g.name]) / g.unit for g in groups}
    else:
        wishes = {}
        for scoped in _scopes(groups, scope):
            wishes |= _together(scoped, scores, limits, ratios)
    return {g.name: limits.nearest(g, wishes[g.name]) for g in groups}


def weakest(group: ChannelGroup, scores: "Tensor", count: int) -> set[int]:
    """Return the ``count`` units with the lowest scores, fewer where a layer needs the rest."""
    return group.removable(scores.argsort(stable=True).tolist(), count)


def _scopes(groups: Sequence[ChannelGroup], scope: str) -> list[list[ChannelGroup]]:
    if scope == "global":
        return [list(groups)]
    alike: dict[str, list[ChannelGroup]] = {}
    for group in groups:
        alike.setdefault(group.shape, []).append(group)
    return list(alike.values())


def _together(
    groups: Sequence[ChannelGroup],
    scores: "Scores",
    limits: Limits,
    ratios: Mapping[str, float],
) -> dict[str, float]:
    """Rank the channels of several groups as one; a unit counts as many channels as it has.

    Where ``max_ratio`` spares a group's last units, the next weakest of others go instead.
    """
    ranked = sorted(
        (float(score) / group.unit, group.name, group.unit)
        for group in groups
        for score in scores[group.name]
    )
    kept_channels = sum(limits.before(group) * (1 - ratios[group.name]) for group in groups)
    budget = sum(group.channels for group in groups) - kept_channels
    kept = {group.name: float(group.units) for group in groups}
    least = {group.name: limits.least(group) for group in groups}
    for _, name, unit in ranked:
        if kept[name] <= least[name]:
            continue
        if unit > budget + 1e-6:
            break
        budget -= unit
        kept[name] -= 1
    return kept
