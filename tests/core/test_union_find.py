"""Joined things have one root, whatever the order in which they were joined."""

from hypothesis import given
from hypothesis import strategies as st

from squeeze.core.union_find import UnionFind

PAIRS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)))


@given(PAIRS)
def test_two_things_have_one_root_if_and_only_if_a_chain_joins_them(
    pairs: list[tuple[int, int]],
) -> None:
    sets = UnionFind[int]()
    for first, other in pairs:
        sets.join(first, other)
    reached = {thing: {thing} for thing in range(13)}
    for _ in range(13):
        for first, other in pairs:
            both = reached[first] | reached[other]
            for thing in both:
                reached[thing] = both
    for first in range(13):
        for other in range(13):
            assert (sets.root(first) == sets.root(other)) == (other in reached[first])


def test_the_first_of_two_stands_for_both_and_strangers_for_themselves() -> None:
    sets = UnionFind[str]()
    sets.join("a", "b")
    sets.join("a", "c")
    assert [sets.root(name) for name in "abcd"] == ["a", "a", "a", "d"]
    assert len(sets) == 4
