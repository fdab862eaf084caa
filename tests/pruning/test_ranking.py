"""How many units stay: by a ratio, alone or ranked together, aligned and limited."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from squeeze.pruning.groups import ChannelGroup, Dependency
from squeeze.pruning.ranking import Limits, by_ratio, weakest

Group = Callable[..., ChannelGroup]
FREE = Limits(1, 0.9, {})


def made(name: str, channels: int, parts: int = 1, *, whole: bool = False) -> ChannelGroup:
    return ChannelGroup(name, channels, parts, whole, (), None)


def allowed(group: ChannelGroup, limits: Limits) -> list[int]:
    """List the widths that the docstrings of ``Limits`` allow, by trying all of them."""
    fewest = limits.before(group) * (1 - limits.max_ratio)
    aligned = [
        units
        for units in range(1, group.units + 1)
        if units == group.units
        or (units * group.unit % limits.align == 0 and units * group.unit >= fewest - 1e-6)
    ]
    return aligned or [group.units]


groups = st.builds(
    lambda size, parts, whole: made("a", size * parts, parts, whole=whole),
    st.integers(2, 40),
    st.sampled_from([1, 2, 3, 4, 8]),
    st.booleans(),
)


@given(
    group=groups,
    align=st.sampled_from([1, 2, 4, 8, 16, 32]),
    max_ratio=st.floats(0, 0.99),
    share=st.floats(0, 1),
)
def test_the_nearest_allowed_width_is_taken(
    group: ChannelGroup, align: int, max_ratio: float, share: float
) -> None:
    limits = Limits(align, max_ratio, {})
    wish = share * group.units
    found = limits.nearest(group, wish)
    options = allowed(group, limits)
    assert found in options
    assert abs(found - wish) <= min(abs(option - wish) for option in options) + 1e-5


@given(group=groups, align=st.sampled_from([1, 3, 8, 64]))
def test_a_group_of_which_nothing_is_asked_stays_whole(group: ChannelGroup, align: int) -> None:
    assert Limits(align, 0.9, {}).nearest(group, group.units) == group.units


def test_halves_go_down() -> None:
    limits = Limits(8, 0.99, {})
    assert limits.nearest(made("a", 32), 20) == 16
    assert limits.nearest(made("a", 32), 20.1) == 24
    assert limits.nearest(made("a", 20), 18) == 16


@pytest.mark.parametrize(
    ("group", "align", "max_ratio", "least"),
    [
        (made("a", 100), 1, 0.9, 10),
        (made("a", 100), 8, 0.9, 16),
        (made("a", 6), 8, 0.9, 6),  # narrower than the alignment
        (made("a", 64, 8), 1, 0.9, 1),  # eight groups lose the same positions
        (made("a", 64, 8, whole=True), 1, 0.5, 4),  # heads of eight
        (made("a", 64, 8, whole=True), 16, 0.9, 2),
        (made("a", 10), 1, 0.0, 10),
    ],
)
def test_the_fewest_units(group: ChannelGroup, align: int, max_ratio: float, least: int) -> None:
    assert Limits(align, max_ratio, {}).least(group) == least


def test_max_ratio_is_of_the_channels_before_the_first_round() -> None:
    limits = Limits(1, 0.5, {"a": 40})
    assert limits.least(made("a", 30)) == 20
    assert limits.least(made("a", 18)) == 18


def test_units_of_parts_are_positions_and_whole_parts_are_blocks() -> None:
    positions, heads = made("a", 12, 3), made("a", 12, 3, whole=True)
    scores = torch.arange(12.0)
    assert [positions.of_unit(u) for u in range(4)] == [
        [0, 4, 8],
        [1, 5, 9],
        [2, 6, 10],
        [3, 7, 11],
    ]
    assert [heads.of_unit(u) for u in range(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    for group in (positions, heads):
        by_hand = [float(sum(scores[c] for c in group.of_unit(u))) for u in range(group.units)]
        assert group.per_unit(scores).tolist() == by_hand
        assert sorted(c for u in range(group.units) for c in group.of_unit(u)) == list(range(12))


def test_local_gives_every_group_its_own_ratio() -> None:
    groups = [made("a", 10), made("b", 40, 4), made("c", 64, 8, whole=True)]
    scores = {g.name: torch.rand(g.units) for g in groups}
    kept = by_ratio(groups, scores, FREE, {"a": 0.5, "b": 0.3, "c": 0.25}, "local")
    assert kept == {"a": 5, "b": 7, "c": 6}


def test_global_removes_the_weakest_wherever_they_are() -> None:
    groups = [made("a", 4), made("b", 6)]
    scores = {"a": torch.tensor([9.0, 8.0, 1.0, 7.0]), "b": torch.tensor([2.0, 3, 4, 5, 6, 10])}
    kept = by_ratio(groups, scores, FREE, {"a": 0.4, "b": 0.4}, "global")
    assert kept == {"a": 3, "b": 3}  # 1 | 2, 3, 4


def test_global_counts_channels_not_units() -> None:
    groups = [made("a", 8, 4), made("b", 8)]  # units of four channels, units of one
    scores = {"a": torch.tensor([4.0, 40.0]), "b": torch.arange(8.0) + 0.5}
    # per channel: a has 1 and 10, b has 0.5, 1.5, ...; 6 of 16 channels go
    kept = by_ratio(groups, scores, Limits(1, 0.9, {}), {"a": 0.375, "b": 0.375}, "global")
    assert kept == {"a": 1, "b": 6}


def test_global_spares_what_may_not_go_and_takes_others_instead() -> None:
    groups = [made("a", 8), made("b", 8)]
    scores = {"a": torch.arange(8.0), "b": torch.arange(8.0) + 100}
    kept = by_ratio(groups, scores, Limits(1, 0.75, {}), {"a": 0.5, "b": 0.5}, "global")
    assert kept == {"a": 2, "b": 6}


def test_isomorphic_ranks_only_what_is_built_alike() -> None:
    def of(name: str, kind: str) -> ChannelGroup:
        dependency = Dependency(name, kind, True, (), ())  # noqa: FBT003
        return ChannelGroup(name, 4, 1, False, (dependency,), None)  # noqa: FBT003

    groups = [of("a", "Conv2d"), of("b", "Conv2d"), of("c", "Linear")]
    scores = {
        "a": torch.tensor([1.0, 2, 3, 4]),
        "b": torch.tensor([5.0, 6, 7, 8]),
        "c": torch.tensor([0.1, 0.2, 0.3, 0.4]),
    }
    ratios = dict.fromkeys("abc", 0.5)
    assert by_ratio(groups, scores, FREE, ratios, "isomorphic") == {"a": 1, "b": 3, "c": 2}
    assert by_ratio(groups, scores, FREE, ratios, "global") == {"a": 1, "b": 4, "c": 1}


@given(
    sizes=st.lists(st.integers(2, 30), min_size=1, max_size=4),
    ratio=st.floats(0, 0.9),
    align=st.sampled_from([1, 2, 8]),
    scope=st.sampled_from(["local", "global", "isomorphic"]),
    seed=st.integers(0, 99),
)
def test_whatever_is_asked_stays_within_the_limits(
    sizes: list[int], ratio: float, align: int, scope: str, seed: int
) -> None:
    groups = [made(str(i), size) for i, size in enumerate(sizes)]
    generator = torch.Generator().manual_seed(seed)
    scores = {g.name: torch.rand(g.units, generator=generator) for g in groups}
    limits = Limits(align, 0.9, {})
    ratios = dict.fromkeys(scores, ratio)
    kept = by_ratio(groups, scores, limits, ratios, scope)
    more = by_ratio(groups, scores, limits, dict.fromkeys(scores, ratio / 2), scope)
    for group in groups:
        assert kept[group.name] in allowed(group, limits)
        assert kept[group.name] <= more[group.name]
    if align == 1 and scope != "local":
        asked = ratio * sum(sizes)
        assert sum(g.units - kept[g.name] for g in groups) <= asked + 1e-6


@given(
    channels=st.integers(4, 200),
    ratio=st.floats(0.05, 0.85),
    rounds=st.integers(2, 5),
    align=st.sampled_from([1, 4, 8]),
)
def test_rounds_end_at_the_widths_of_one_round(
    channels: int, ratio: float, rounds: int, align: int
) -> None:
    limits = Limits(align, 0.9, {"a": channels})

    def after(width: int, share: float) -> int:
        group = made("a", width)
        scores = {"a": torch.rand(width)}
        return by_ratio([group], scores, limits, {"a": ratio * share}, "local")["a"]

    width = channels
    for number in range(1, rounds + 1):
        width = after(width, number / rounds)
    assert width == after(channels, 1.0)


def test_the_weakest_are_the_lowest_and_the_first_among_equals() -> None:
    assert weakest(made("a", 4), torch.tensor([3.0, 1.0, 2.0, 1.0]), 2) == {1, 3}
    assert weakest(made("a", 3), torch.tensor([1.0, 1.0, 1.0]), 1) == {0}
    assert weakest(made("a", 2), torch.tensor([1.0, 2.0]), 0) == set()


def test_no_side_of_a_group_is_left_without_channels() -> None:
    """Three channels make a piece of their own: the best of them stays."""
    every, piece = tuple(range(6)), (0, 1, 2)
    sides = (
        Dependency("a", "Conv2d", True, every, every),  # noqa: FBT003
        Dependency("b", "Conv2d", False, piece, piece),  # noqa: FBT003
    )
    group = replace(made("a", 6), dependencies=sides)
    scores = torch.tensor([1.0, 2.0, 0.0, 7.0, 8.0, 9.0])
    assert weakest(group, scores, 3) == {0, 2, 3}
    assert weakest(group, scores, 5) == {0, 2, 3, 4, 5}


def test_units_in_any_order() -> None:
    """Heads of queries and keys behind each other: a unit is a head of both."""
    group = replace(made("a", 8, 4), unit_of=(0, 0, 1, 1, 0, 0, 1, 1))
    assert (group.unit, group.units) == (4, 2)
    assert [group.of_unit(unit) for unit in (0, 1)] == [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert group.per_unit(torch.arange(8.0)).tolist() == [10.0, 18.0]
