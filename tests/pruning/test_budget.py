"""Widths that meet a cost: against trying all of them, and with models that are wrong."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from squeeze.core.types import Silent
from squeeze.pruning import budget
from squeeze.pruning.groups import ChannelGroup
from squeeze.pruning.ranking import Kept, Limits

Shares = NDArray[np.float64]


def groups_of(*channels: int) -> list[ChannelGroup]:
    names = "abcdef"
    return [
        ChannelGroup(names[i], width, 1, whole=False, dependencies=(), kept=None)
        for i, width in enumerate(channels)
    ]


def chain(weights: tuple[float, ...]) -> Callable[[Shares], float]:
    """Return the cost of layers in a row: each is as wide as it is and as its input is."""

    def cost(shares: Shares) -> float:
        inputs = np.concatenate([[1.0], shares[:-1]])
        return float((np.array(weights) * inputs * shares).sum() + shares[-1])

    return cost


def every_width(groups: list[ChannelGroup], limits: Limits) -> "itertools.product[tuple[int, ...]]":
    options = []
    for group in groups:
        step, least = limits.step(group), limits.least(group)
        options.append(
            [u for u in range(least, group.units + 1) if u % step == 0 or u == group.units]
        )
    return itertools.product(*options)


@settings(deadline=None)
@given(
    seed=st.integers(0, 500),
    goal=st.floats(0.15, 1.0),
    align=st.sampled_from([1, 2, 4]),
    in_loss_units=st.booleans(),
)
def test_linear_costs_are_met_at_the_least_loss(
    *, seed: int, goal: float, align: int, in_loss_units: bool
) -> None:
    """With costs that add up, greedy steps are optimal for the cost that they reach."""
    rng = np.random.default_rng(seed)
    groups, limits = groups_of(12, 8, 16), Limits(align, 0.75, {})
    scores = {g.name: torch.from_numpy(rng.random(g.units)) for g in groups}
    losses = budget.losses(groups, scores, in_loss_units=in_loss_units)
    price = rng.random(3) + 0.1

    def cost(shares: Shares) -> float:
        return float(shares @ price / price.sum())

    kept = budget.widths(groups, losses, limits, cost, goal)
    tried = [np.array(w) for w in every_width(groups, limits)]
    full = np.array([g.units for g in groups])
    reachable = [w for w in tried if cost(w / full) <= goal]
    if not reachable:
        assert kept == {g.name: limits.least(g) for g in groups}
        return
    widths = np.array([kept[g.name] for g in groups])
    reached = cost(widths / full)
    assert reached <= goal

    def lost(width: "NDArray[np.int64]") -> float:
        return float(sum(losses[i][full[i] - width[i]] for i in range(3)))

    best = min(lost(w) for w in tried if cost(w / full) <= reached + 1e-9)
    assert lost(widths) <= best + 1e-9
    # one step wider anywhere: the goal is no longer met, or no step was needed
    optimum = min(lost(w) for w in reachable)
    steps = [
        losses[i][min(full[i] - u + align, full[i])] - losses[i][full[i] - u]
        for i in range(3)
        for u in range(limits.least(groups[i]) + align, full[i] + 1)
    ]
    assert lost(widths) <= optimum + max(steps) + 1e-9


@settings(deadline=None)
@given(seed=st.integers(0, 500), goal=st.floats(0.3, 0.95))
def test_products_of_widths_are_met_near_the_least_loss(seed: int, goal: float) -> None:
    rng = np.random.default_rng(seed)
    groups, limits = groups_of(8, 8, 8), Limits(1, 0.75, {})
    scores = {g.name: torch.from_numpy(rng.random(g.units)) for g in groups}
    losses = budget.losses(groups, scores, in_loss_units=True)
    cost = chain(tuple(rng.random(3) + 0.2))
    full = cost(np.ones(3))
    kept = budget.widths(groups, losses, limits, lambda s: cost(s) / full, goal)
    widths = np.array([kept[g.name] for g in groups])
    assert cost(widths / 8) / full <= goal
    optimum = min(
        sum(losses[i][8 - w[i]] for i in range(3))
        for w in every_width(groups, limits)
        if cost(np.array(w) / 8) / full <= goal
    )
    assert sum(losses[i][8 - widths[i]] for i in range(3)) <= optimum + 1.0  # one step, at most


@given(seed=st.integers(0, 200), goals=st.tuples(st.floats(0.3, 1.0), st.floats(0.3, 1.0)))
def test_a_lower_goal_never_widens(seed: int, goals: tuple[float, float]) -> None:
    rng = np.random.default_rng(seed)
    groups, limits = groups_of(10, 20), Limits(2, 0.8, {})
    scores = {g.name: torch.from_numpy(rng.random(g.units)) for g in groups}
    losses = budget.losses(groups, scores, in_loss_units=False)
    found = [
        budget.widths(groups, losses, limits, lambda s: float(s.mean()), goal)
        for goal in sorted(goals)
    ]
    assert all(found[0][name] <= found[1][name] for name in "ab")


def test_a_goal_out_of_reach_gives_the_narrowest_widths() -> None:
    groups = groups_of(10)
    losses = budget.losses(groups, {"a": torch.rand(10)}, in_loss_units=True)
    limits = Limits(1, 0.5, {})
    mean = lambda shares: float(shares.mean())  # noqa: E731
    assert budget.widths(groups, losses, limits, mean, 0.49) == {"a": 5}
    assert budget.widths(groups, losses, limits, mean, 0.5) == {"a": 5}
    assert budget.widths(groups, losses, limits, lambda _: 1.0, 0.9) == {"a": 10}
    assert budget.widths(groups, losses, limits, mean, 2.0) == {"a": 10}


def test_losses_are_what_is_lost() -> None:
    groups = groups_of(4)
    scores = {"a": torch.tensor([4.0, 1.0, 3.0, 2.0])}
    (in_units,) = budget.losses(groups, scores, in_loss_units=True)
    assert in_units.tolist() == [0, 1, 3, 6, 10]
    (shares,) = budget.losses(groups, scores, in_loss_units=False)
    assert np.exp(-shares[:4]) == pytest.approx([1.0, 0.9, 0.7, 0.4])
    assert shares[4] > 20
    assert np.all(np.diff(shares) > 0)


def test_losses_of_worthless_groups_are_numbers() -> None:
    for in_loss_units in (True, False):
        (lost,) = budget.losses(groups_of(3), {"a": torch.zeros(3)}, in_loss_units=in_loss_units)
        assert np.all(np.isfinite(lost))
        assert lost[2] == 0


class Trial:
    """A search over one group of 1000 units whose model is wrong by a factor."""

    def __init__(self, wrong: Callable[[float], float], limits: Limits) -> None:
        self.groups = groups_of(1000)
        self.losses = budget.losses(self.groups, {"a": torch.rand(1000)}, in_loss_units=True)
        self.wrong, self.limits, self.measured = wrong, limits, 0

    def find(self, aim: float) -> Kept:
        return budget.widths(self.groups, self.losses, self.limits, lambda s: float(s.mean()), aim)

    def measure(self, kept: Kept) -> float:
        self.measured += 1
        return self.wrong(kept["a"] / 1000)

    def run(self, goal: float) -> budget.FittingWidths:
        def predict(kept: Kept) -> float:
            return kept["a"] / 1000

        return budget.search(
            self.find, predict, self.measure, goal, Silent(), show=lambda cost: f"{cost:.0%}"
        )


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.25, 1.6])
@pytest.mark.parametrize("align", [1, 50])
def test_a_constant_error_is_corrected(factor: float, align: int) -> None:
    trial = Trial(lambda cost: cost * factor, Limits(align, 0.9, {}))
    found = trial.run(0.4)
    assert found.measured <= 0.4
    assert found.tries == trial.measured <= 6
    assert found.measured == pytest.approx(factor * found.kept["a"] / 1000)
    assert found.predicted == found.kept["a"] / 1000
    # within two per cent, or within a step where steps are wider
    assert found.measured >= 0.4 * 0.98 - factor * align / 1000


def test_an_offset_is_corrected_too() -> None:
    found = Trial(lambda cost: 0.2 + 0.8 * cost, Limits(1, 0.9, {})).run(0.5)
    assert 0.5 * 0.97 <= found.measured <= 0.5


def test_a_goal_that_needs_nothing_keeps_everything() -> None:
    assert Trial(lambda cost: cost, Limits(1, 0.9, {})).run(1.0).kept == {"a": 1000}


def test_an_unreachable_goal_gives_the_best_and_says_so() -> None:
    for wrong, best in ((lambda cost: 0.5 + cost, 0.9), (lambda cost: cost, 0.4)):
        found = Trial(wrong, Limits(1, 0.6, {})).run(0.3)
        assert not found.met
        assert found.measured == pytest.approx(best)
    assert Trial(lambda cost: cost, Limits(1, 0.6, {})).run(0.5).met


def test_a_pessimistic_model_does_not_hide_what_can_be_reached() -> None:
    """The model says that 0.4 of the cost is the least; really it is 0.2."""
    found = Trial(lambda cost: cost / 2, Limits(1, 0.6, {})).run(0.3)
    assert found.measured <= 0.3
