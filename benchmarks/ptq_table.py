"""The tables of ``ptq_peers.py``, from what it left in a model's folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ptq_routes import HAND, ROUTES

from squeeze.measure import statistics
from squeeze.results import Estimate

Logits = NDArray[np.float32]
FLOAT = "float"
OURS = "squeeze"
COLUMNS = ("route", "top-1, points", "same class", "logits, dB", "speed", "int8", "MB")
COLUMNS += ("wall s", "CPU s", "peak MB")


def chosen(folder: Path, files: list[str]) -> list[str]:
    """Return the routes to show: of the hand-set ones, the best on the calibration images.

    That is the one that most often gives float's class there, of equals the one of less noise.
    """
    tries = [name for name in files if name in HAND]

    def merit(name: str) -> tuple[float, float]:
        return same_class(folder, name, "calibration"), decibels(folder, name, "calibration")

    best = max(tries, key=merit, default=None)
    return [name for name in files if name not in HAND or name == best]


def lines(folder: Path, shown: list[str]) -> list[str]:
    """Return a model's part of the page."""
    known = {name: facts_of(folder, name) for name in (FLOAT, *ROUTES)}
    labels = np.load(folder / "labels.npy")
    hits = logits(folder, FLOAT, "validation").argmax(1) == labels
    of = statistics.proportion(int(hits.sum()), len(hits))
    before = known[FLOAT]
    told = [
        f"{100 * of.value:.1f} % of {len(labels)} images",
        f"{before['size_bytes'] / 1e6:.1f} MB",
    ]
    if "median_s" in before:
        told.append(f"{1e3 * before['median_s']:.2f} ms")
    if any(known[name].get("noisy") for name in shown):
        told.append("**on a busy machine: no figure of speed is to be trusted**")
    rows = [
        f"## {before['title']}",
        "",
        f"Float: {', '.join(told)}.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
    ]
    for name, facts in known.items():
        if name in shown and name != FLOAT:
            rows.append(_row(folder, name, facts, before, labels))
        elif "missing" in facts:
            rows.append(f"| {ROUTES[name].title} | {facts['missing']} {'| ' * (len(COLUMNS) - 1)}")
    return [*rows, "", *_against(folder, shown, known, labels), *_tries(folder), *_notes(known)]


def _row(
    folder: Path,
    name: str,
    facts: dict[str, Any],
    before: dict[str, Any],
    labels: NDArray[np.int64],
) -> str:
    floats, outputs = (logits(folder, each, "validation") for each in (FLOAT, name))
    drop = statistics.paired_drop(floats.argmax(1) == labels, outputs.argmax(1) == labels)
    same = float((floats.argmax(1) == outputs.argmax(1)).mean())
    speed = _speed(before, facts)
    cells = [
        ROUTES[name].title,
        _points(drop),
        f"{100 * same:.1f} %",
        f"{decibels(folder, name, 'validation'):.1f}",
        f"{speed.value:.2f}x [{speed.low:.2f}, {speed.high:.2f}]" if speed else "",
        "/".join(map(str, facts["coverage"])),
        f"{facts['size_bytes'] / 1e6:.1f}",
        f"{facts['seconds']:.0f}",
        f"{facts['cpu_s']:.0f}",
        f"{facts['peak_bytes'] / 1e6:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _against(
    folder: Path, shown: list[str], known: dict[str, Any], labels: NDArray[np.int64]
) -> list[str]:
    """Return squeeze's file against every other one, on the same images and in the same rounds."""
    if OURS not in shown:
        return []
    best, ours = (logits(folder, name, "validation").argmax(1) for name in (FLOAT, OURS))
    rows = [
        "squeeze against each, above 0 (and above 1x) is squeeze's favour, paired 95 % intervals:",
        "",
        "| against | top-1, points | same class, points | speed |",
        "|---|---|---|---|",
    ]
    for name in shown:
        if name in {FLOAT, OURS}:
            continue
        theirs = logits(folder, name, "validation").argmax(1)
        top1 = statistics.paired_drop(theirs == labels, ours == labels)
        same = statistics.paired_drop(theirs == best, ours == best)
        speed = _speed(known[name], known[OURS])
        ratio = f"{speed.value:.2f}x [{speed.low:.2f}, {speed.high:.2f}]" if speed else ""
        rows.append(f"| {ROUTES[name].title} | {_points(top1)} | {_points(same)} | {ratio} |")
    return [*rows, ""]


def _tries(folder: Path) -> list[str]:
    """Return what setting by hand gave; the choice was made without the evaluation images."""
    rows = []
    for name in HAND:
        if not (folder / name / "logits.npz").exists():
            continue
        cells = [
            f"{100 * same_class(folder, name, part):.1f} %, {decibels(folder, name, part):.1f} dB"
            for part in ("calibration", "validation")
        ]
        rows.append(f"| {facts_of(folder, name)['note']} | {' | '.join(cells)} |")
    head = [
        "Set by hand; the row above is that with float's class most often on calibration images:",
        "",
        "| settings | same class and logits on calibration images | on the others |",
        "|---|---|---|",
    ]
    return [*head, *rows, ""] if rows else []


def _notes(known: dict[str, Any]) -> list[str]:
    rows = []
    for name, facts in known.items():
        if name == FLOAT or name in HAND or "note" not in facts:
            continue
        why = f" Left in float: {'; '.join(facts['why'])}." if facts.get("why") else ""
        rows.append(f"- {ROUTES[name].title} ({facts['version']}): {facts['note']}.{why}")
    return [*rows, ""]


def facts_of(folder: Path, name: str) -> dict[str, Any]:
    """Return what is known of a route."""
    path = folder / name / "told.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def logits(folder: Path, name: str, images: str) -> Logits:
    """Return a file's outputs ``(N, classes)`` on the ``calibration`` or ``validation`` images."""
    found: Logits = np.load(folder / name / "logits.npz")[images]
    return found


def same_class(folder: Path, name: str, images: str) -> float:
    """Return on what share of the images a file gives the float model's class."""
    floats, outputs = (logits(folder, each, images).argmax(1) for each in (FLOAT, name))
    return float((floats == outputs).mean())


def decibels(folder: Path, name: str, images: str) -> float:
    """Return the signal-to-noise ratio of the logits in the middle image."""
    floats, outputs = (logits(folder, each, images) for each in (FLOAT, name))
    signal, noise = np.square(floats).sum(1), np.square(outputs - floats).sum(1)
    return float(np.median(10 * np.log10(signal / np.maximum(noise, 1e-12))))


def _speed(before: dict[str, Any], after: dict[str, Any]) -> Estimate | None:
    if "rounds_s" not in before or "rounds_s" not in after:
        return None
    return statistics.speedup(before["rounds_s"], after["rounds_s"])


def _points(drop: Estimate) -> str:
    return f"{-100 * drop.value:+.2f} [{-100 * drop.high:+.2f}, {-100 * drop.low:+.2f}]"
