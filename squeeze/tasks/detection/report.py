"""What reports show of detection: average precision by class and size, curves, images."""

import io
from collections.abc import Sequence

from squeeze.results import (
    AccuracyBlock,
    ChangeBlock,
    DetectionAccuracy,
    PictureBlock,
    Row,
)
from squeeze.tasks.reporting import (
    CaptionedImage,
    Gallery,
    Pair,
    ReportSection,
    ReportTable,
    from_to,
    main_cells,
    plot_text,
    points,
)

COLUMNS = (
    "mAP",
    "95 % interval",
    "Samples",
    "AP50",
    "AP75",
    "mAP change, points",
    "AP50 change, points",
    "Agreement",
)
DETAILS = frozenset({"95 % interval", "Samples", "AP75"})
_SIZES = ("Target", "Model", "mAP small", "mAP medium", "mAP large", "VOC AP50", "Recall at 100")
_COLOURS = ("#6b7280", "#2563eb")
_PANELS, _WIDTH = 12, 484


def cells(accuracy: AccuracyBlock, change: ChangeBlock | None) -> tuple[str, ...]:
    """Return a row's cells for ``COLUMNS``."""
    precisions = ("", "")
    if accuracy.kind == "detection":
        precisions = (f"{accuracy.ap50.value:.2%}", f"{accuracy.ap75:.2%}")
    compared = ("", "", "")
    if change is not None and change.kind == "detection":
        compared = (points(change.drop), points(change.ap50_drop), f"{change.agreement.value:.1%}")
    return (*main_cells(accuracy), *precisions, *compared)


def headline(
    before: AccuracyBlock, after: AccuracyBlock, change: ChangeBlock
) -> tuple[tuple[str, str], ...]:
    """Return mAP and AP50 of both models and how many detections they share."""
    found = [("mAP", from_to(before.headline[1].value, after.headline[1].value, change.drop))]
    if before.kind == "detection" and after.kind == "detection" and change.kind == "detection":
        half = from_to(before.ap50.value, after.ap50.value, change.ap50_drop)
        found.append(("AP50", half))
    same = f"{change.agreement.value:.1%} of its detections are found"
    return (*found, ("Agreement with the baseline", same))


def sections(pairs: Sequence[Pair]) -> list[ReportSection]:
    """Return average precision by class and by size, and curves of precision over recall."""
    shared = [
        (pair, (one, other))
        for pair in pairs
        if (one := _accuracy(pair[0])) is not None and (other := _accuracy(pair[1])) is not None
    ]
    if not shared:
        return []
    return [
        ReportSection(
            "Average precision by class",
            tuple(_by_class(pair, both) for pair, both in shared),
            "In percent. AP: mean over IoU 0.5 to 0.95. Intervals of mAP and AP50 and of their "
            "changes: bootstrap over images, paired with the baseline.",
        ),
        ReportSection(
            "Average precision by size",
            (_by_size([row for pair, _ in shared for row in pair]),),
            "In percent. Small, medium and large: annotated areas below 32², from 32² to 96² and "
            "above 96² pixels of the original images.",
        ),
        ReportSection("Precision over recall at IoU 0.5", plot=_curves(*shared[0])),
    ]


def galleries(pictures: Sequence[PictureBlock]) -> list[Gallery]:
    """Return the images whose detections changed most."""
    shown = tuple(
        CaptionedImage(
            each.name,
            each.png,
            _WIDTH,
            (
                ((each.name, "strong"), (f", {each.objects} objects", "")),
                ((f"left, baseline: {each.baseline}", ""),),
                ((f"right, final: {each.candidate}", ""),),
            ),
        )
        for each in pictures
        if each.kind == "detection"
    )
    note = "Green: annotated. Red: detected with a score of at least 0.3."
    return [Gallery("Images whose detections changed most", shown, note)] if shown else []


def _accuracy(row: Row) -> DetectionAccuracy | None:
    found = row.accuracy
    return found if found is not None and found.kind == "detection" else None


def _by_class(pair: Pair, both: tuple[DetectionAccuracy, DetectionAccuracy]) -> ReportTable:
    before, after = pair
    columns = ("Class", "Boxes", *(f"{ap} {row.model}" for ap in ("AP", "AP50") for row in pair))
    rows = tuple(
        (one.name, str(one.boxes), *map(_percent, (one.ap, other.ap, one.ap50, other.ap50)))
        for one, other in zip(both[0].per_class, both[1].per_class, strict=True)
    )
    return ReportTable(columns, rows, f"{after.target}, batch {before.batch_size}")


def _by_size(rows: Sequence[Row]) -> ReportTable:
    lines = []
    for row in rows:
        if (found := _accuracy(row)) is not None:
            shares = (found.small, found.medium, found.large, found.voc_ap50, found.recall)
            lines.append((row.target, row.model, *map(_percent, shares)))
    return ReportTable(_SIZES, tuple(lines))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _curves(pair: Pair, both: tuple[DetectionAccuracy, DetectionAccuracy]) -> str:
    """Draw a panel per class as SVG; at most twelve, those with most boxes first."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    order = sorted(range(len(both[0].per_class)), key=lambda k: -both[0].per_class[k].boxes)
    shown = [k for k in order if both[0].per_class[k].boxes][:_PANELS]
    names = [plot_text(f"{row.model} ({row.runtime})") for row in pair]
    columns = min(4, len(shown))
    lines = -(-len(shown) // columns)
    with mpl.rc_context({"svg.hashsalt": "squeeze", "font.size": 9, "svg.fonttype": "none"}):
        figure = Figure(figsize=(2.9 * columns, 2.6 * lines), layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False).flatten()
        for panel in panels[len(shown) :]:
            panel.set_visible(False)
        for panel, k in zip(panels, shown, strict=False):
            for accuracy, colour, label in zip(both, _COLOURS, names, strict=True):
                curve = accuracy.per_class[k].curve
                recalls = [i / (len(curve) - 1) for i in range(len(curve))]
                panel.plot(recalls, curve, color=colour, lw=1.2, label=label)
            panel.set_title(plot_text(both[0].per_class[k].name), fontsize=9, loc="left")
            panel.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
            panel.spines[["top", "right"]].set_visible(False)
            panel.grid(alpha=0.25)
        panels[0].legend(fontsize=8, frameon=False, loc="lower left")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]
