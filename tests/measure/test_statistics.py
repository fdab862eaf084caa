"""Statistics at their edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze.measure import statistics


def test_nothing_right_and_all_right_still_have_an_interval() -> None:
    none, everything = statistics.proportion(0, 50), statistics.proportion(50, 50)
    assert (none.low, everything.high) == (0.0, 1.0)
    assert none.high == pytest.approx(3.841459 / (50 + 3.841459), abs=1e-6)
    assert everything.low == pytest.approx(1 - none.high)


def outcomes(regressions: int, fixes: int, total: int) -> tuple[np.ndarray, np.ndarray]:
    before, after = np.ones(total, bool), np.ones(total, bool)
    after[:regressions] = False
    before[regressions : regressions + fixes] = False
    return before, after


def test_no_change_among_few_samples_is_not_certainty() -> None:
    few, many = (statistics.paired_drop(*outcomes(0, 0, n)) for n in (20, 2000))
    assert few.value == many.value == 0.0
    assert few.high == -few.low > 10 * many.high > 0


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 200))
def test_the_paired_interval_holds_its_value_and_mirrors(
    regressions: int, fixes: int, kept: int
) -> None:
    total = regressions + fixes + kept + 1
    before, after = outcomes(regressions, fixes, total)
    one, other = statistics.paired_drop(before, after), statistics.paired_drop(after, before)
    assert one.low <= one.value <= one.high
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_a_constant_ratio_has_no_width() -> None:
    found = statistics.speedup([[2.0], [4.0], [6.0]], [[1.0], [2.0], [3.0]])
    assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0)


def test_at_least_so_many_hits_is_a_sum_of_binomial_terms() -> None:
    assert statistics.at_least(2, 3, 0.5) == pytest.approx(3 / 8 + 1 / 8)
    assert statistics.at_least(0, 3, 0.5) == 1.0
    assert statistics.at_least(3, 3, 1.0) == 1.0


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 5.0))
def test_a_speedup_is_the_ratio_of_the_medians_beside_it(seed: int, ratio: float) -> None:
    """Also where rounds differ so much that the median of their ratios is another figure."""
    rng = np.random.default_rng(seed)
    busy = rng.choice([1.0, 2.0, 7.0], (15, 1))
    before = busy * rng.lognormal(0, 0.3, (15, 4))
    after = busy[rng.permutation(15)] * rng.lognormal(0, 0.3, (15, 9)) / ratio
    found = statistics.speedup(before.tolist(), after.tolist())
    assert found.value == np.median(before) / np.median(after)
    assert found.low <= found.value <= found.high
