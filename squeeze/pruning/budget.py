"""Widths that meet a cost at the least loss of importance.

Units go one aligned step at a time, always where the cost falls most per importance lost. Scores
of a group are removed in rising order, so its loss is convex and this greedy choice is that of the
Lagrangian relaxation up to one step per group; costs are products of input and output widths, so
the gain of every step is computed anew.

Source: the knapsack view of Shen et al., Structural Pruning via Latency-Saliency Knapsack
(https://arxiv.org/abs/2210.06659), solved greedily.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from squeeze.pruning.groups import ChannelGroup
from squeeze.pruning.ranking import Kept, Limits

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from squeeze.core.types import Progress

    Predict = Callable[[NDArray[np.float64]], float]
    """Kept share of every group ``(groups,)`` to a cost."""

_TRIES = 6
_TOLERANCE = 0.02
_LEAST_LOSS = 1e-12


@dataclass(frozen=True)
class FittingWidths:
    """The outcome of a search.

    Attributes:
        kept: Units by group.
        predicted: What the cost model said of them.
        measured: What they really cost.
        tries: How many widths were measured.
        met: Whether the goal was reached; otherwise these are the best widths that were tried.
    """

    kept: Kept
    predicted: float
    measured: float
    tries: int
    met: bool = True


def losses(
    groups: Sequence[ChannelGroup], scores: "Mapping[str, Tensor]", *, in_loss_units: bool
) -> "list[NDArray[np.float64]]":
    """Return what removing the n weakest units of every group loses, for n from 0.

    Scores in units of the training loss add up between groups. Others are only comparable inside a
    group: there the loss is the logarithm of the share of importance that is kept, so that over
    all groups the product of the kept shares is maximised and no group is emptied for being cheap.

    Args:
        groups: The prunable ones.
        scores: Per unit, not negative.
        in_loss_units: Whether the scores add up between groups.
    """
    found = []
    for group in groups:
        gone = np.concatenate([[0.0], np.cumsum(np.sort(scores[group.name].double().numpy()))])
        share = np.clip(gone / max(gone[-1], _LEAST_LOSS), 0, 1 - _LEAST_LOSS)
        found.append(gone if in_loss_units else -np.log1p(-share))
    return found


def widths(
    groups: Sequence[ChannelGroup],
    losses: "Sequence[NDArray[np.float64]]",
    limits: Limits,
    predict: "Predict",
    goal: float,
) -> Kept:
    """Return the units kept by the first widths whose predicted cost is at most ``goal``.

    Where even the narrowest cost more, those are returned: predictions are not the last word.

    Args:
        groups: The prunable ones, in the order of ``predict``'s shares.
        losses: See above, in the same order.
        limits: Alignment and the most that may go.
        predict: The cost model.
        goal: In the model's unit.
    """
    kept = np.array([group.units for group in groups])
    full = kept.copy()
    cost = predict(kept / full)
    while cost > goal:
        best, choice = 0.0, None
        for index, group in enumerate(groups):
            fewer = _narrower(group, int(kept[index]), limits)
            if fewer is None:
                continue
            shares = kept / full
            shares[index] = fewer / full[index]
            gain = cost - predict(shares)
            gone = losses[index][full[index] - fewer] - losses[index][full[index] - kept[index]]
            rate = gain / max(float(gone), _LEAST_LOSS)
            if rate > best:
                best, choice = rate, (index, fewer)
        if choice is None:
            break
        kept[choice[0]] = choice[1]
        cost = predict(kept / full)
    return {group.name: int(units) for group, units in zip(groups, kept, strict=True)}


def search(
    find: Callable[[float], Kept],
    predict: Callable[[Kept], float],
    measure: Callable[[Kept], float],
    goal: float,
    progress: "Progress",
    *,
    show: Callable[[float], str],
) -> FittingWidths:
    """Find widths whose measured cost is at most ``goal`` and as near to it as can be.

    What the model predicts wrongly is corrected by aiming lower or higher, a few times.

    Args:
        find: A cost to widths, the narrowest where it cannot be reached.
        predict: Widths to the model's cost.
        measure: Widths to the real cost.
        goal: The largest real cost allowed.
        progress: Told of every try.
        show: A cost as people read it.

    """
    aim, best, tries = goal, None, 0
    tried: dict[tuple[tuple[str, int], ...], FittingWidths] = {}
    for _ in range(_TRIES):
        kept = find(aim)
        if tuple(sorted(kept.items())) in tried:
            break
        tries += 1
        predicted, measured = predict(kept), measure(kept)
        now = FittingWidths(kept, predicted, measured, tries, met=measured <= goal)
        tried[tuple(sorted(kept.items()))] = now
        progress.say(
            f"widths predicted at {show(predicted)} reach {show(measured)}, goal {show(goal)}"
        )
        if now.met and (best is None or measured > best.measured):
            best = now
        if now.met and measured >= goal * (1 - _TOLERANCE):
            break
        aim = min(aim * goal / measured, predicted) if not now.met else aim * goal / measured
        if not now.met:
            aim *= 1 - _TOLERANCE / 2
    best = best or min(tried.values(), key=lambda found: found.measured)
    return replace(best, tries=tries)


def _narrower(group: ChannelGroup, kept: int, limits: Limits) -> int | None:
    """Return the next narrower aligned width in units, or None at the narrowest."""
    step = limits.step(group)
    fewer = (kept - 1) // step * step
    return fewer if fewer >= limits.least(group) and fewer > 0 else None
