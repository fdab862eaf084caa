"""Intervals: how far a measured figure can be trusted."""

from typing import TYPE_CHECKING

import numpy as np

from squeeze.results import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_Z = 1.959963984540054
_RESAMPLES = 2000


def proportion(hits: int, total: int) -> Estimate:
    """Return a proportion with its Wilson score interval.

    Source: Wilson, Probable Inference (1927), computed by scipy.
    """
    from scipy.stats import binomtest

    interval = binomtest(hits, total).proportion_ci(method="wilson")
    return Estimate(value=hits / total, low=float(interval.low), high=float(interval.high))


def at_least(hits: int, total: int, chance: float) -> float:
    """Return the probability of at least this many hits by chance alone, [0, 1].

    Source: the one-sided exact binomial test, computed by scipy.
    """
    from scipy.stats import binomtest

    return float(binomtest(hits, total, chance, alternative="greater").pvalue)


def paired_drop(before: "NDArray[np.bool_]", after: "NDArray[np.bool_]") -> Estimate:
    """Return how much a proportion fell between two tests of the same samples.

    Only samples whose outcome changed carry information, which is why this interval is narrower
    than that of either proportion. Half a sample is added to each of the four outcomes, so that the
    interval keeps a width where few samples show no change.

    Source: Agresti and Min, Simple improved confidence intervals for comparing matched
    proportions, Statistics in Medicine 24 (2005), section 3; cut to [-1, 1].
    """
    regressions = int((before & ~after).sum())
    fixes = int((~before & after).sum())
    total = len(before)
    drop = (regressions - fixes) / total
    centre = (regressions - fixes) / (total + 2)
    spread = _Z * float(np.sqrt(regressions + fixes + 1 - (regressions - fixes) ** 2 / (total + 2)))
    spread /= total + 2
    low, high = max(-1.0, centre - spread), min(1.0, centre + spread)
    return Estimate(value=drop, low=min(drop, low), high=max(drop, high))


def speedup(
    baseline: "Sequence[Sequence[float]]", candidate: "Sequence[Sequence[float]]"
) -> Estimate:
    """Return how many times faster the candidate's median call is than the baseline's.

    The value is the ratio of the two medians over all calls, so that it agrees with the medians in
    the report. The interval is a percentile bootstrap over whole rounds, the same ones for both:
    what slows a round down slows both.

    Args:
        baseline: Seconds of every call, by round, equally many in each.
        candidate: The same rounds; it may have another number of calls in each.
    """
    both = (np.asarray(baseline, float), np.asarray(candidate, float))
    value = float(np.median(both[0]) / np.median(both[1]))
    rounds = len(both[0])
    drawn = np.random.default_rng(0).integers(0, rounds, (_RESAMPLES, rounds))
    medians = [np.median(calls[drawn].reshape(_RESAMPLES, -1), axis=1) for calls in both]
    low, high = np.percentile(medians[0] / medians[1], [2.5, 97.5])
    return Estimate(value=value, low=min(value, float(low)), high=max(value, float(high)))
