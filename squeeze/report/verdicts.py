"""A measured figure against a limit: pass, fail or inconclusive, and what would decide it."""

import math
from dataclasses import dataclass
from statistics import NormalDist

from squeeze.results import Estimate, Verdict

_POWER = 0.8
"""Chance that the samples that a note asks for do decide."""
_MANY = 10_000_000


@dataclass(frozen=True)
class IntervalRule:
    """How a gate on a figure with an interval is decided.

    Attributes:
        confidence: Of the interval, [0.5, 1).
        on_inconclusive: ``warn``, ``fail`` or ``pass``, where the interval holds the limit.
    """

    confidence: float
    on_inconclusive: str

    def verdict(self, figure: Estimate, least: float) -> Verdict:
        """Decide whether a figure is at least a limit.

        The interval is two-sided, so that of figures that are truly on the wrong side of the limit
        at most half of ``1 - confidence`` pass, and of those on the right side as many fail.
        """
        interval = figure.at(self.confidence)
        # figures are counts over samples: allow for the last bit of their division
        if interval.low >= least - 1e-12:
            return "pass"
        return "fail" if interval.high < least else "inconclusive"

    def counted(self, verdict: Verdict) -> tuple[Verdict, str]:
        """Return the verdict that the recipe wants, and what to note of it."""
        if verdict != "inconclusive" or self.on_inconclusive == "warn":
            return verdict, ""
        counts: Verdict = "fail" if self.on_inconclusive == "fail" else "pass"
        as_what = "a failure" if counts == "fail" else "a pass"
        return counts, f"inconclusive, counted as {as_what} (on_inconclusive: {counts})"

    def samples_to_decide(self, figure: Estimate, least: float, samples: int) -> str:
        """Return how many samples would decide, if the figure stayed what it is.

        An interval shrinks with the root of the number of samples. Those are named that decide in
        four of five repetitions.

        Source: the usual sample size of a test of one mean: (z_confidence + z_power)^2 / gap^2
        times the variance, with the variance that the interval implies.
        """
        gap = abs(figure.value - least)
        arm = figure.value - figure.low if figure.value > least else figure.high - figure.value
        deviation = arm / NormalDist().inv_cdf(0.975) * math.sqrt(samples)
        quantiles = NormalDist().inv_cdf((1 + self.confidence) / 2) + NormalDist().inv_cdf(_POWER)
        if gap == 0 or (needed := (quantiles * deviation / gap) ** 2) > _MANY:
            return f"too close to the limit for any number of samples ({samples:,} here)"
        digits = 10 ** max(0, math.floor(math.log10(max(needed, 1))) - 1)
        rounded = math.ceil(needed / digits) * digits
        return f"about {rounded:,} samples would decide ({samples:,} here)"
