"""The statistics that keep a figure from saying more than was measured."""

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


def paired_drop(before: "NDArray[np.bool_]", after: "NDArray[np.bool_]") -> Estimate:
    """Return how much a proportion fell between two tests of the same samples.

    Only samples whose outcome changed carry information, which is why this interval is narrower
    than that of either proportion. Half a sample is added to each of the four outcomes, so that no
    change among few samples is not taken for certainty.

    Source: Agresti and Min, Simple improved confidence intervals for comparing matched
    proportions, Statistics in Medicine 24 (2005), section 3.
    """
    broken = int((before & ~after).sum())
    mended = int((~before & after).sum())
    total = len(before)
    drop = (broken - mended) / total
    centre = (broken - mended) / (total + 2)
    spread = _Z * float(np.sqrt(broken + mended + 1 - (broken - mended) ** 2 / (total + 2)))
    spread /= total + 2
    return Estimate(value=drop, low=min(drop, centre - spread), high=max(drop, centre + spread))


def speedup(baseline: "Sequence[float]", candidate: "Sequence[float]") -> Estimate:
    """Return baseline/candidate of paired rounds: the median ratio and its bootstrap interval.

    Args:
        baseline: Seconds, one median per round.
        candidate: The same rounds.
    """
    from scipy.stats import bootstrap

    ratios = np.asarray(baseline) / np.asarray(candidate)
    middle = float(np.median(ratios))
    if np.ptp(ratios) == 0:
        return Estimate(value=middle, low=middle, high=middle)
    interval = bootstrap(
        (ratios,),
        np.median,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Estimate(value=middle, low=float(interval.low), high=float(interval.high))
