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


def outcomes(broken: int, mended: int, total: int) -> tuple[np.ndarray, np.ndarray]:
    before, after = np.ones(total, bool), np.ones(total, bool)
    after[:broken] = False
    before[broken : broken + mended] = False
    return before, after


def test_no_change_among_few_samples_is_not_certainty() -> None:
    few, many = (statistics.paired_drop(*outcomes(0, 0, n)) for n in (20, 2000))
    assert few.value == many.value == 0.0
    assert few.high == -few.low > 10 * many.high > 0


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 200))
def test_the_paired_interval_holds_its_value_and_mirrors(
    broken: int, mended: int, kept: int
) -> None:
    total = broken + mended + kept + 1
    before, after = outcomes(broken, mended, total)
    one, other = statistics.paired_drop(before, after), statistics.paired_drop(after, before)
    assert one.low <= one.value <= one.high
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_a_constant_ratio_has_no_width() -> None:
    found = statistics.speedup([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0)
