"""Top-1 and top-5, paired changes, and the images that became regressions or fixes."""

from collections import Counter
from typing import TYPE_CHECKING

from squeeze.measure import pictures, statistics
from squeeze.results import (
    ClassChange,
    ClassificationAccuracy,
    ClassificationChange,
    ClassificationPicture,
    ConfusionChange,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from squeeze.data.splits import Split

_SHOWN = 12
_CONFUSIONS = 20


def score(predictions: "NDArray[np.int64]", labels: "NDArray[np.int64]") -> ClassificationAccuracy:
    """Compare predictions ``(N, 5)``, best class first, with labels ``(N,)``."""
    import numpy as np

    best, among = hits(predictions, labels)
    total, right = len(labels), int(best.sum())
    guess = float(np.unique(labels, return_counts=True)[1].max() / total)
    return ClassificationAccuracy(
        samples=total,
        top1=statistics.proportion(right, total),
        top5=statistics.proportion(int(among.sum()), total),
        guess=guess,
        guess_p=statistics.at_least(right, total, guess),
        constant=bool((predictions[:, 0] == predictions[0, 0]).all()),
    )


def compare(
    before: "NDArray[np.int64]",
    after: "NDArray[np.int64]",
    labels: "NDArray[np.int64]",
    classes: "Sequence[str]",
) -> ClassificationChange:
    """Compare the predictions of two models on the same samples, as a whole and by class."""
    (best, among), (best_after, among_after) = hits(before, labels), hits(after, labels)
    return ClassificationChange(
        drop=statistics.paired_drop(best, best_after),
        top5_drop=statistics.paired_drop(among, among_after),
        agreement=statistics.proportion(int((before[:, 0] == after[:, 0]).sum()), len(labels)),
        regressions=int((best & ~best_after).sum()),
        fixes=int((~best & best_after).sum()),
        per_class=tuple(_by_class(best, best_after, labels, classes)),
        confusions=tuple(_confusions(before[:, 0], after[:, 0], labels, classes)),
    )


def _by_class(
    before: "NDArray[np.bool_]",
    after: "NDArray[np.bool_]",
    labels: "NDArray[np.int64]",
    classes: "Sequence[str]",
) -> "list[ClassChange]":
    """Return every class that has samples, that which lost most first."""
    import numpy as np

    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    found = [
        ClassChange(
            name=classes[int(label)],
            samples=len(own),
            before=int(before[own].sum()),
            after=int(after[own].sum()),
            drop=statistics.paired_drop(before[own], after[own]),
        )
        for label, own in zip(present, np.split(order, starts[1:]), strict=True)
    ]
    return sorted(found, key=lambda each: (-each.drop.value, each.after - each.before))


def _confusions(
    before: "NDArray[np.int64]",
    after: "NDArray[np.int64]",
    labels: "NDArray[np.int64]",
    classes: "Sequence[str]",
) -> "list[ConfusionChange]":
    """Return the pairs of classes whose confusion changed most, first those that grew."""
    counts: dict[tuple[int, int], list[int]] = {}
    for place, predicted in enumerate((before, after)):
        wrong = predicted != labels
        pairs = zip(labels[wrong].tolist(), predicted[wrong].tolist(), strict=True)
        for pair, count in Counter(pairs).items():
            counts.setdefault(pair, [0, 0])[place] = count
    changed = [
        ConfusionChange(
            label=classes[label], predicted=classes[predicted], before=first, after=last
        )
        for (label, predicted), (first, last) in sorted(counts.items())
        if first != last
    ]
    changed.sort(key=lambda each: (-abs(each.after - each.before), each.before - each.after))
    return changed[:_CONFUSIONS]


def agreement(before: "NDArray[np.int64]", after: "NDArray[np.int64]") -> float:
    """Return the share of samples for which both predict the same class."""
    return float((before[:, 0] == after[:, 0]).mean())


def hits(
    predictions: "NDArray[np.int64]", labels: "NDArray[np.int64]"
) -> "tuple[NDArray[np.bool_], NDArray[np.bool_]]":
    """Return per sample whether the label is the best, and among the best five."""
    equal = predictions == labels[:, None]
    return equal[:, 0], equal.any(axis=1)


def changed(
    before: "NDArray[np.int64]", after: "NDArray[np.int64]", split: "Split"
) -> "Iterator[ClassificationPicture]":
    """Yield up to twelve images that one of two models has right and the other wrong.

    Those that got worse come first.
    """
    first, last, labels = before[:, 0], after[:, 0], split.class_indices
    worse = [int(i) for i in ((first == labels) & (last != labels)).nonzero()[0]]
    better = [int(i) for i in ((first != labels) & (last == labels)).nonzero()[0]]
    names = split.samples.classes
    for position in (worse + better)[:_SHOWN]:
        yield ClassificationPicture(
            name=split.name(position).rpartition("/")[2],
            label=names[int(labels[position])],
            baseline=names[int(first[position])],
            candidate=names[int(last[position])],
            png=pictures.png(pictures.thumbnail(split, position)),
        )
