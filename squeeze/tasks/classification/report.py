"""What reports show of classification: top-1, top-5, agreement, classes and images that changed."""

from collections.abc import Sequence

from squeeze.results import AccuracyBlock, ChangeBlock, ClassificationChange, PictureBlock
from squeeze.tasks.reporting import (
    CaptionedImage,
    Gallery,
    Pair,
    ReportSection,
    ReportTable,
    Style,
    from_to,
    main_cells,
    points,
)

COLUMNS = ("Top-1", "95 % interval", "Samples", "Top-5", "Change, points", "Agreement")
DETAILS = frozenset({"95 % interval", "Samples", "Top-5"})
_WIDTH = 96
_CLASSES, _PAIRS = 15, 10
_BY_CLASS = (
    "The class that lost most comes first. Intervals are paired, of one class each: among many "
    "classes one in twenty lies beside the truth by chance."
)


def cells(accuracy: AccuracyBlock, change: ChangeBlock | None) -> tuple[str, ...]:
    """Return a row's cells for ``COLUMNS``."""
    top5 = f"{accuracy.top5.value:.2%}" if accuracy.kind == "classification" else ""
    compared = ("", "")
    if change is not None:
        compared = (points(change.drop), f"{change.agreement.value:.1%}")
    return (*main_cells(accuracy), top5, *compared)


def headline(
    before: AccuracyBlock, after: AccuracyBlock, change: ChangeBlock
) -> tuple[tuple[str, str], ...]:
    """Return top-1 of both models and how often they predict the same class."""
    top1 = from_to(before.headline[1].value, after.headline[1].value, change.drop)
    same = f"same class for {change.agreement.value:.1%} of {after.samples} samples"
    return ("Top-1", top1), ("Agreement with the baseline", same)


def sections(pairs: Sequence[Pair]) -> list[ReportSection]:
    """Return what each class lost, and which classes are confused more or less often."""
    changed = [
        (f"{after.target}, batch {after.batch_size}: {before.model} → {after.model}", after.change)
        for before, after in pairs
        if after.change is not None and after.change.kind == "classification"
    ]
    by_class = tuple(_by_class(*each) for each in changed if each[1].per_class)
    confused = tuple(_confusions(*each) for each in changed if each[1].confusions)
    found = []
    if by_class:
        found.append(ReportSection("Accuracy by class", by_class, _BY_CLASS))
    if confused:
        found.append(ReportSection("Confusions that changed most", confused))
    return found


def _by_class(title: str, change: ClassificationChange) -> ReportTable:
    rows = [
        (
            each.name,
            str(each.samples),
            f"{each.before} ({each.before / each.samples:.1%})",
            f"{each.after} ({each.after / each.samples:.1%})",
            points(each.drop),
        )
        for each in change.per_class
    ]
    more = len(rows) - _CLASSES
    if more > 1:
        rows = [*rows[:_CLASSES], (f"{more} more in results.json", "", "", "", "")]
    columns = ("Class", "Samples", "Right before", "Right after", "Change, points")
    return ReportTable(columns, tuple(rows), title)


def _confusions(title: str, change: ClassificationChange) -> ReportTable:
    rows = [
        (each.label, each.predicted, str(each.before), str(each.after))
        for each in change.confusions[:_PAIRS]
    ]
    columns = ("Label", "Predicted", "Samples before", "Samples after")
    return ReportTable(columns, tuple(rows), title)


def galleries(pictures: Sequence[PictureBlock]) -> list[Gallery]:
    """Return the images that only one of baseline and final model has right."""
    shown = [
        _captioned(each.name, each.label, each.baseline, each.candidate, each.png)
        for each in pictures
        if each.kind == "classification"
    ]
    note = "Regression: only the baseline is right. Fix: only the final model is right."
    return [Gallery("Regressions and fixes", tuple(shown), note)] if shown else []


def _captioned(name: str, label: str, baseline: str, candidate: str, png: str) -> CaptionedImage:
    kind: tuple[str, Style] = ("Fix", "good") if candidate == label else ("Regression", "bad")
    caption: tuple[tuple[tuple[str, Style], ...], ...] = (
        (kind,),
        (("label: ", ""), (label, "strong")),
        (("baseline: ", ""), (baseline, _style(baseline, label))),
        (("final: ", ""), (candidate, _style(candidate, label))),
    )
    return CaptionedImage(name, png, _WIDTH, caption)


def _style(predicted: str, label: str) -> Style:
    return "good" if predicted == label else "bad"
