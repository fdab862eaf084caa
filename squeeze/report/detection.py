"""What reports of detectors show besides: precision by class, curves, columns of their own."""

import io
from dataclasses import dataclass

from squeeze.results import DetectionAccuracy, Results, Row

_COLOURS = ("#6b7280", "#2563eb")
_PANELS = 12


@dataclass(frozen=True)
class ClassTable:
    """Average precisions by class on one target, of its first and its furthest state.

    Attributes:
        place: Target and batch size.
        states: The two states' names.
        rows: Class, boxes, and AP and AP50 of both states; empty cells where there are no boxes.
    """

    place: str
    models: tuple[str, str]
    rows: tuple[tuple[str, ...], ...]


def class_tables(pairs: list[tuple[Row, Row]]) -> list[ClassTable]:
    """Return a table for every target whose rows are of a detector."""
    return [_class_table(before, after) for before, after in pairs if _both(before, after)]


def sizes(pairs: list[tuple[Row, Row]]) -> list[tuple[str, ...]]:
    """Return target, state and mAP of small, medium and large boxes, AP50 by VOC and recall."""
    lines = []
    for pair in pairs:
        for row in pair:
            found = row.accuracy
            if isinstance(found, DetectionAccuracy):
                shares = (found.small, found.medium, found.large, found.voc_ap50, found.recall)
                lines.append((row.target, row.model, *(_percent(share) for share in shares)))
    return lines


def nms_files(results: Results) -> list[str]:
    """Return the files that end at boxes, relative to the run's folder."""
    return list(dict.fromkeys(row.with_nms for row in results.rows if row.with_nms))


def curves(pairs: list[tuple[Row, Row]]) -> str:
    """Draw precision over recall at IoU 0.5, one panel per class of the first target, as SVG.

    At most twelve classes are shown, those with most boxes first. Empty without a detector.
    """
    shared = [(both, pair) for pair in pairs if (both := _both(*pair))]
    if not shared:
        return ""
    both, models = shared[0]
    import matplotlib as mpl
    from matplotlib.figure import Figure

    order = sorted(range(len(both[0].per_class)), key=lambda k: -both[0].per_class[k].boxes)
    shown = [k for k in order if both[0].per_class[k].boxes][:_PANELS]
    names = [f"{row.model} ({row.runtime})" for row in models]
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
            panel.set_title(both[0].per_class[k].name, fontsize=9, loc="left")
            panel.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
            panel.spines[["top", "right"]].set_visible(False)
            panel.grid(alpha=0.25)
        panels[0].legend(fontsize=8, frameon=False, loc="lower left")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]


def is_detection(results: Results) -> bool:
    """Tell whether the run was about boxes."""
    return results.recipe.get("task") == "detection"


def _both(before: Row, after: Row) -> tuple[DetectionAccuracy, DetectionAccuracy] | None:
    one, other = before.accuracy, after.accuracy
    if isinstance(one, DetectionAccuracy) and isinstance(other, DetectionAccuracy):
        return one, other
    return None


def _class_table(before: Row, after: Row) -> ClassTable:
    both = _both(before, after)
    rows = []
    for one, other in zip(both[0].per_class, both[1].per_class, strict=True) if both else ():
        figures = (one.ap, other.ap, one.ap50, other.ap50)
        rows.append((one.name, str(one.boxes), *(_percent(figure) for figure in figures)))
    place = f"{after.target}, batch {after.batch_size}"
    return ClassTable(place, (before.model, after.model), tuple(rows))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"
