"""How often a gate on a paired change is wrong, by drawing outcomes whose truth is known."""

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from squeeze.measure import statistics
from squeeze.report.verdicts import IntervalRule
from squeeze.results import Verdict

RULE = IntervalRule(0.95, "warn")
DRAWS = 4000


def verdicts(samples: int, regressions: float, fixes: float, max_drop: float) -> Counter[Verdict]:
    """Draw models whose drop is truly ``regressions - fixes``, and decide the gate for each."""
    rng = np.random.default_rng(0)
    counts = rng.multinomial(samples, [regressions, fixes, 1 - regressions - fixes], DRAWS)
    found: Counter[Verdict] = Counter()
    for worse, better, _ in counts.tolist():
        before, after = np.ones(samples, bool), np.ones(samples, bool)
        after[:worse] = False
        before[worse : worse + better] = False
        drop = statistics.paired_drop(before, after)
        found[RULE.verdict(-drop, -max_drop)] += 1
    return found


@pytest.mark.parametrize("samples", [100, 500, 2000])
@pytest.mark.parametrize("fixes", [0.002, 0.01, 0.03])
@pytest.mark.parametrize(("drop", "wrong"), [(0.02, "pass"), (0.005, "fail"), (0.0, "fail")])
def test_a_wrong_verdict_is_rare(samples: int, fixes: float, drop: float, wrong: Verdict) -> None:
    """The limit is one point: at most 2.5 % of truly worse models pass, and of better ones fail."""
    found = verdicts(samples, drop + fixes, fixes, max_drop=0.01)
    allowance = 3 * np.sqrt(0.025 * 0.975 / DRAWS)
    assert found[wrong] / DRAWS <= 0.025 + allowance


@pytest.mark.parametrize(("fixes", "passes", "fails"), [(0.005, 0.12, 0.14), (0.05, 0.28, 0.34)])
def test_a_bare_figure_would_be_wrong_often(fixes: float, passes: float, fails: float) -> None:
    """The shares that docs/concepts/intervals.md gives: 500 samples, a limit of one point."""
    rng = np.random.default_rng(0)

    def losses(drop: float) -> NDArray[np.int64]:
        shares = [drop + fixes, fixes, 1 - drop - 2 * fixes]
        counts = rng.multinomial(500, shares, 50 * DRAWS)
        return counts[:, 0] - counts[:, 1]

    assert (losses(0.02) <= 5).mean() == pytest.approx(passes, abs=0.006)
    assert (losses(0.005) > 5).mean() == pytest.approx(fails, abs=0.006)


def test_enough_samples_decide() -> None:
    found = verdicts(20_000, 0.03, 0.01, max_drop=0.01)
    assert found["fail"] / DRAWS > 0.99
    found = verdicts(20_000, 0.01, 0.01, max_drop=0.01)
    assert found["pass"] / DRAWS > 0.99


def test_the_number_of_samples_that_is_named_decides_in_four_of_five_draws() -> None:
    samples, regressions, fixes = 500, 0.03, 0.01
    before, after = np.ones(samples, bool), np.ones(samples, bool)
    after[:15] = False
    before[15:20] = False
    drop = statistics.paired_drop(before, after)
    note = RULE.samples_to_decide(-drop, -0.01, samples)
    named = int(note.split()[1].replace(",", ""))
    found = verdicts(named, regressions, fixes, max_drop=0.01)
    assert found["fail"] / DRAWS == pytest.approx(0.8, abs=0.06)
