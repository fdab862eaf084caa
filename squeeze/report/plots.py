"""Accuracy over latency as an SVG that stands inside the report."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

from squeeze.report import tables
from squeeze.results import Estimate, Results, Row
from squeeze.tasks.reporting import plot_text

_COLOURS = ("#6b7280", "#2563eb", "#d97706", "#059669", "#7c3aed", "#db2777", "#0891b2")


def accuracy_over_latency(results: Results) -> str:
    """Return one panel per target and batch size; up and left is better. Empty without rows."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    places: dict[tuple[str, int], list[Row]] = {}
    for row in results.rows:
        if row.accuracy is not None and row.latency is not None:
            places.setdefault((row.target, row.batch_size), []).append(row)
    if not places:
        return ""
    colours = {each.name: _COLOURS[i % len(_COLOURS)] for i, each in enumerate(results.models)}
    with mpl.rc_context({"svg.hashsalt": "squeeze", "font.size": 9, "svg.fonttype": "none"}):
        figure = Figure(figsize=(4.4 * len(places), 3.4), layout="constrained")
        panels = figure.subplots(1, len(places), squeeze=False)[0]
        for panel, ((target, batch), rows) in zip(panels, places.items(), strict=True):
            for row in rows:
                _point(panel, row, colours.get(row.model, "#000000"))
            place = f"{target}, batch {batch}{tables.elsewhere(rows[0])}"
            panel.set_title(plot_text(place), fontsize=10, loc="left")
            decoded = "" if rows[0].network_latency is None else " with decoding"
            panel.set_xlabel(f"latency{decoded}, ms (median, bar: interquartile range)")
            panel.set_ylabel(f"{_headline(rows[0])[0]}, % (bar: 95 % interval)")
            panel.spines[["top", "right"]].set_visible(False)
            panel.grid(alpha=0.25)
            panel.set_xlim(left=0)
            panel.margins(x=0.25)
        panels[0].legend(fontsize=8, frameon=False, loc="best")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]


def sensitivity(
    curves: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    path: Path,
    *,
    metric: str = "accuracy",
) -> None:
    """Write a PNG of the task's metric over the fraction removed, one line per group.

    Args:
        curves: Name and ``(fraction, metric)`` points of every group.
        path: The file.
        metric: Its name, for the axis.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    panel = figure.subplots()
    colours = colormaps["viridis"]
    for number, (name, points) in enumerate(curves):
        x, y = zip(*points, strict=True)
        colour = colours(number / max(1, len(curves) - 1))
        panel.plot(
            x, [100 * value for value in y], "o-", ms=3, lw=1, color=colour, label=plot_text(name)
        )
    panel.set_xlabel("fraction of the group's channels removed (nothing else pruned, no training)")
    panel.set_ylabel(f"{metric} in torch, %")
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(alpha=0.25)
    columns = 1 + len(curves) // 24
    figure.legend(loc="outside right upper", fontsize=6, frameon=False, ncols=columns)
    figure.savefig(path, dpi=150)


def layers(points: Sequence[tuple[str, float, float]], path: Path) -> None:
    """Write a PNG of each layer's SQNR and cosine, in order of execution.

    Args:
        points: Name, SQNR in dB and cosine of every layer; what is not finite is left out.
        path: The file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(6.0, 0.22 * len(points)), 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    places = range(len(points))
    names, ratios, cosines = zip(*points, strict=True)
    for panel, values, label, colour in (
        (above, ratios, "SQNR, dB", _COLOURS[1]),
        (below, cosines, "cosine", _COLOURS[2]),
    ):
        known = [(x, y) for x, y in zip(places, values, strict=True) if math.isfinite(y)]
        panel.plot([x for x, _ in known], [y for _, y in known], "o-", ms=3, lw=1, color=colour)
        panel.set_ylabel(label)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25)
    below.set_xticks(
        list(places), [plot_text(name[-40:]) for name in names], rotation=90, fontsize=6
    )
    figure.savefig(path, dpi=150)


def _headline(row: Row) -> tuple[str, Estimate]:
    if row.accuracy is None:
        raise ValueError(f"{row.model} has no accuracy")
    return row.accuracy.headline


def _point(panel: object, row: Row, colour: str) -> None:
    from matplotlib.axes import Axes

    if not isinstance(panel, Axes) or row.accuracy is None or row.latency is None:
        return
    (_, figure), x = row.accuracy.headline, 1e3 * row.latency.median_s
    half = 1e3 * row.latency.iqr_s / 2
    panel.errorbar(
        x,
        100 * figure.value,
        xerr=half,
        color=colour,
        fmt="o",
        ms=7,
        capsize=2,
        lw=1,
        yerr=[[100 * (figure.value - figure.low)], [100 * (figure.high - figure.value)]],
        label=plot_text(row.model),
    )
