"""Intervals of an average precision and of its change: a paired bootstrap over images.

Which detections are right is decided image by image, so that matching is done once; drawing images
with replacement only changes how often each of them counts. Baseline and candidate share the draws,
which is why the interval of their difference is narrower than those of the two.

Average precision takes the best precision at every recall, and so comes out too high on few
images. A drawn set repeats images and is too high again by as much, which tells the bias; intervals
of a figure are moved back by it. In a difference of two models it cancels. Percentiles of the
draws, which are shifted the wrong way, hold the truth of mAP less often
(``benchmarks/results/interval_coverage.md``).

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 10 (the estimate of
bias) and 12 (the interval of Student's t with the standard deviation of the draws). Precision and
recall are COCO's, https://cocodataset.org/#detection-eval.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.boxes import Boxes, Detections, overlaps
from squeeze.measure.statistics import proportion
from squeeze.results import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Matched = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]
    """Image, score, rightness and whether it counts, of one class's detections in one image."""

THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)
_BEST = 100
_FEWEST, _MOST = 200, 500
_WORK = 1e8
"""At most so many detections are drawn in all, unless that makes too few draws."""
_VALUES = 1e7
"""At most so many at once, to limit memory."""
_EPSILON = 1e-10
"""COCO's: an overlap this close to a threshold reaches it."""


@dataclass(frozen=True)
class _OfClass:
    """One class's detections of all images, best first.

    Attributes:
        images: Where each was found ``(D,)``.
        right: Whether it is right at each threshold ``(10, D)``.
        counts: Whether it is right or wrong at all there; else it lies on an ignored box.
        boxes: Annotated boxes of every image ``(N,)``.
    """

    images: "NDArray[np.int64]"
    right: "NDArray[np.bool_]"
    counts: "NDArray[np.bool_]"
    boxes: "NDArray[np.int64]"


@dataclass(frozen=True)
class Draws:
    """mAP and AP50 of the set as it is, and of every drawn one.

    Attributes:
        map: mAP of the set.
        ap50: AP50 of the set.
        drawn: ``(draws, 2)`` of both; the same images in the same draw of every model.
        images: How many the set has.
    """

    map: float
    ap50: float
    drawn: "NDArray[np.float64]"

    images: int

    def estimates(self) -> tuple[Estimate, Estimate]:
        """Return mAP and AP50 with their intervals."""
        return (
            _interval(self.map, self.drawn[:, 0], self.images, biased=True),
            _interval(self.ap50, self.drawn[:, 1], self.images, biased=True),
        )

    def drops_to(self, after: "Draws") -> tuple[Estimate, Estimate]:
        """Return how much mAP and AP50 fall from this model to another one."""
        fall = self.drawn - after.drawn
        return (
            _interval(self.map - after.map, fall[:, 0], self.images, least=-1.0),
            _interval(self.ap50 - after.ap50, fall[:, 1], self.images, least=-1.0),
        )


def _interval(
    value: float,
    drawn: "NDArray[np.float64]",
    images: int,
    *,
    biased: bool = False,
    least: float = 0.0,
) -> Estimate:
    """Return a figure with its interval, which lies in ``[least, 1]``.

    Args:
        value: Of the set.
        drawn: Of every drawn set.
        images: How many the set has; a single one says nothing about others.
        biased: Whether a drawn set is off by as much as the set itself.
        least: The smallest value that there is.
    """
    from scipy.stats import t

    if images == 1:
        return Estimate(value=value, low=least, high=1.0)
    centre = 2 * value - float(drawn.mean()) if biased else value
    arm = float(t.ppf(0.975, images - 1)) * float(drawn.std(ddof=1))
    low, high = max(least, centre - arm), min(1.0, centre + arm)
    return Estimate(value=value, low=min(value, low), high=max(value, high))


def share(hits: "NDArray[np.int64]", totals: "NDArray[np.int64]") -> Estimate:
    """Return a share of things that come several to an image, with its interval over images.

    Args:
        hits: Of every image ``(N,)``.
        totals: Out of so many ``(N,)``. Without any at all the share is 1. Where all or none are
            hits, images count once each (Wilson's interval).
    """
    images, whole = len(totals), int(totals.sum())
    if not whole:
        return Estimate(value=1.0, low=1.0, high=1.0)
    if hits.sum() in {0, whole}:  # all draws are alike
        return proportion(images if hits.any() else 0, images)
    places = np.random.default_rng(0).integers(0, images, (_MOST, images))
    drawn = hits[places].sum(axis=1) / np.maximum(totals[places].sum(axis=1), 1)
    return _interval(int(hits.sum()) / whole, drawn, images)


def draw(detections: Sequence[Detections], truth: Sequence[Boxes], classes: int) -> Draws:
    """Score a set as it is and resampled with replacement, always with the same seed.

    Args:
        detections: Per image, in pixels of the original images.
        truth: Per image, in the same order; at least one box that is not ignored.
        classes: How many there are.
    """
    parts = _by_class(detections, truth, classes)
    images = len(truth)
    size = sum(len(part.images) for part in parts) + images
    count = int(np.clip(_WORK / size, _FEWEST, _MOST))
    rng = np.random.default_rng(0)
    weights = [np.bincount(rng.integers(0, images, images), minlength=images) for _ in range(count)]
    at_once = max(1, int(_VALUES / size))
    drawn = [
        _precision(parts, np.array(weights[start : start + at_once]))
        for start in range(0, count, at_once)
    ]
    whole = _precision(parts, np.ones((1, images), np.int64))[0]
    return Draws(float(whole[0]), float(whole[1]), np.concatenate(drawn), images)


def _precision(parts: Sequence[_OfClass], weights: "NDArray[np.int64]") -> "NDArray[np.float64]":
    """Return mAP and AP50 ``(draws, 2)`` when image i counts ``weights[:, i]`` times."""
    found = np.array([_ap(part, weights) for part in parts])
    there = ~np.isnan(found)  # in a draw without any box of a class it does not count
    sums = np.where(there, found, 0).sum(axis=0)
    means = sums / np.maximum(there.sum(axis=0), 1)
    return np.stack([means.mean(axis=1), means[:, 0]], axis=1)


def _ap(part: _OfClass, weights: "NDArray[np.int64]") -> "NDArray[np.float64]":
    """Return a class's average precision ``(draws, 10)``; NaN where no box of it was drawn.

    Precision falls where a detection is wrong, so its best values lie at those that are right.
    """
    totals = weights @ part.boxes
    weight = weights[:, part.images]
    every = np.cumsum(weight, axis=1)
    found = np.zeros((len(weights), len(THRESHOLDS)))
    for number in range(len(THRESHOLDS)):
        right, shown = np.flatnonzero(part.right[number]), every
        if not part.counts[number].all():
            shown = np.cumsum(weight * part.counts[number], axis=1)
        hits = np.cumsum(weight[:, right], axis=1)
        precision = hits / np.maximum(shown[:, right], 1)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = hits / np.maximum(totals, 1)[:, None]
        for row in range(len(weights)):
            places = np.searchsorted(recall[row], _RECALLS, side="left")
            found[row, number] = best[row][places[places < len(right)]].sum() / len(_RECALLS)
    found[totals == 0] = np.nan
    return found


def _by_class(
    detections: Sequence[Detections], truth: Sequence[Boxes], classes: int
) -> list[_OfClass]:
    """Match every image's detections; leave out classes without boxes."""
    boxes = np.zeros((classes, len(truth)), np.int64)
    found: list[list[_Matched]] = [[] for _ in range(classes)]
    for image, (own, annotated) in enumerate(zip(detections, truth, strict=True)):
        np.add.at(boxes[:, image], annotated.classes[~annotated.ignored], 1)
        for number in np.unique(own.classes).tolist():
            mine = own.take(np.flatnonzero(own.classes == number)[:_BEST])
            hits, known = matched(mine, annotated.take(annotated.classes == number))
            found[number].append((np.full(len(mine), image), mine.scores, hits, known))
    return [_joined(found[k], boxes[k]) for k in range(classes) if boxes[k].any()]


def _joined(found: "list[_Matched]", boxes: "NDArray[np.int64]") -> _OfClass:
    if not found:
        none = np.zeros((len(THRESHOLDS), 0), np.bool_)
        return _OfClass(np.zeros(0, np.int64), none, none, boxes)
    images, scores, right, counts = zip(*found, strict=True)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return _OfClass(
        np.concatenate(images)[order],
        np.concatenate(right, axis=1)[:, order],
        np.concatenate(counts, axis=1)[:, order],
        boxes,
    )


def matched(found: Detections, truth: Boxes) -> "tuple[NDArray[np.bool_], NDArray[np.bool_]]":
    """Match detections of one class in one image with its boxes, as COCO does.

    Args:
        found: Best first.
        truth: Of the same class. Several detections may lie on one ignored box.

    Returns:
        At each threshold ``(10, n)`` whether a detection is right, and whether it counts.
    """
    right = np.zeros((len(THRESHOLDS), len(found)), np.bool_)
    counts = np.ones_like(right)
    goal, ignored = truth.take(~truth.ignored), truth.take(truth.ignored)
    shares = overlaps(found.xyxy, goal.xyxy)
    taken = np.zeros((len(THRESHOLDS), len(goal)), np.bool_)
    rows = np.arange(len(THRESHOLDS))
    limits = np.minimum(THRESHOLDS, 1 - _EPSILON)
    near = shares.max(axis=1, initial=0.0) >= limits[0]
    for number in np.flatnonzero(near).tolist():
        free = np.where(taken, -1.0, shares[number])
        # of equal overlaps COCO's code takes the last
        best = free.shape[1] - 1 - free[:, ::-1].argmax(axis=1)
        hit = free[rows, best] >= limits
        right[hit, number] = True
        taken[rows[hit], best[hit]] = True
    if len(ignored):
        covered = _covered(found, ignored)
        counts = right | (covered < limits[:, None])
    return right, counts


def _covered(found: Detections, ignored: Boxes) -> "NDArray[np.float64]":
    """Return the largest share of every detection that lies in an ignored box ``(n,)``."""
    own, other = found.xyxy.astype(np.float64)[:, None], ignored.xyxy.astype(np.float64)[None]
    low = np.maximum(own[..., :2], other[..., :2])
    high = np.minimum(own[..., 2:], other[..., 2:])
    both = np.maximum(high - low, 0).prod(-1)
    areas = np.maximum(own[..., 2:] - own[..., :2], 0).prod(-1)
    shares: NDArray[np.float64] = (both / np.maximum(areas, _EPSILON)).max(axis=1)
    return shares
