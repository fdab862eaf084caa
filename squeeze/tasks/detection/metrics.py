"""Two models' detections against the truth and each other: scores, changes, pictures."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.boxes import Boxes, Detections, overlaps
from squeeze.measure import pictures
from squeeze.results import DetectionAccuracy, DetectionChange, DetectionPicture
from squeeze.tasks.detection import average_precision, bootstrap

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from squeeze.data.splits import Split

CONFIDENT = 0.3
"""Score from which a detection counts for agreement and is drawn."""
_IOU = 0.5
_SHOWN, _SIDE = 8, 240
_TRUE, _OURS = "#22c55e", "#ef4444"


def score(
    found: Sequence[Detections], truth: Sequence[Boxes], classes: Sequence[str]
) -> DetectionAccuracy:
    """Return average precisions with intervals; everything in pixels of the pictures."""
    figures = average_precision.score(found, truth, classes)
    whole, half = bootstrap.draw(found, truth, len(classes)).estimates()
    return DetectionAccuracy(
        samples=figures.images,
        boxes=figures.boxes,
        map=whole,
        ap50=half,
        ap75=figures.ap75,
        small=figures.small,
        medium=figures.medium,
        large=figures.large,
        recall=figures.recall,
        voc_ap50=figures.voc_ap50,
        per_class=tuple(
            each.model_copy(update={"curve": tuple(round(value, 4) for value in each.curve)})
            for each in figures.per_class
        ),
    )


def compare(
    before: Sequence[Detections],
    after: Sequence[Detections],
    truth: Sequence[Boxes],
    classes: int,
) -> DetectionChange:
    """Compare two models' detections in the same images."""
    first, last = (bootstrap.draw(each, truth, classes) for each in (before, after))
    drop, half = first.drops_to(last)
    counts = _shared(before, after)
    return DetectionChange(
        drop=drop, ap50_drop=half, agreement=bootstrap.share(counts[:, 0], counts[:, 1])
    )


def confident(found: Detections) -> Detections:
    """Return the detections that score at least ``CONFIDENT``."""
    return found.take(found.scores >= CONFIDENT)


def agreement(before: Sequence[Detections], after: Sequence[Detections]) -> float:
    """Return the share of the first model's confident detections that the second has too.

    Two detections are the same when they have the same class, overlap by an IoU of at least 0.5
    and both score at least 0.3; each is matched once, best first. 1 where the first model has no
    confident detection.
    """
    shared, total = _shared(before, after).sum(axis=0).tolist()
    return shared / total if total else 1.0


def _shared(before: Sequence[Detections], after: Sequence[Detections]) -> "NDArray[np.int64]":
    """Return by image ``(N, 2)`` how many confident detections the second has too, of how many."""
    counts = [
        (int(_paired(own := confident(one), confident(other)).sum()), len(own))
        for one, other in zip(before, after, strict=True)
    ]
    return np.array(counts, np.int64).reshape(-1, 2)


def _paired(
    one: Detections | Boxes, other: Detections | Boxes
) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Return which of the first have a partner among the second, each of which is taken once."""
    shares = overlaps(one.xyxy, other.xyxy)
    shares[one.classes[:, None] != other.classes[None]] = 0
    has = np.zeros(len(one), np.bool_)
    for row in range(len(one) if len(other) else 0):
        best = int(shares[row].argmax())
        if shares[row, best] >= _IOU:
            has[row] = True
            shares[:, best] = 0
    return has


def changed(
    before: Sequence[Detections], after: Sequence[Detections], split: "Split"
) -> Iterator[DetectionPicture]:
    """Yield up to eight images, first those with most confident detections of only one model.

    Args:
        before: In pixels of the input.
        after: The same of the other model.
        split: The images.
    """
    pairs = [(confident(one), confident(other)) for one, other in zip(before, after, strict=True)]
    differ = [
        int((~_paired(one, other)).sum() + (~_paired(other, one)).sum()) for one, other in pairs
    ]
    order = np.argsort(-np.array(differ), kind="stable")[:_SHOWN].tolist()
    for place in order:
        if not differ[place]:
            return
        boxes = split.labels[place]
        truth = boxes.take(~boxes.ignored)
        yield DetectionPicture(
            name=split.name(place).rpartition("/")[2],
            objects=len(truth),
            baseline=_counts(pairs[place][0], truth),
            candidate=_counts(pairs[place][1], truth),
            png=pictures.png(_panels(split, place, truth, pairs[place])),
        )


def _counts(found: Detections, truth: Boxes) -> str:
    right = int(_paired(found, truth).sum())
    return f"{right} right, {len(found) - right} wrong, {len(truth) - right} missed"


def _panels(
    split: "Split", place: int, truth: Boxes, found: tuple[Detections, Detections]
) -> "Image":
    """Draw the image twice, side by side: the truth in green, detections in red with class."""
    from PIL import Image, ImageDraw

    plain = pictures.thumbnail(split, place, _SIDE).convert("RGB")
    scale = _SIDE / max(split.spec.shape[1:])
    whole = Image.new("RGB", (2 * plain.width + 4, plain.height), "white")
    for number, detections in enumerate(found):
        panel = plain.copy()
        pen = ImageDraw.Draw(panel)
        for box in (truth.xyxy * scale).tolist():
            pen.rectangle(box, outline=_TRUE, width=3)
        shown = zip((detections.xyxy * scale).tolist(), detections.classes.tolist(), strict=True)
        for box, kind in shown:
            pen.rectangle(box, outline=_OURS)
            pen.text((box[0] + 2, box[1]), split.samples.classes[kind], fill=_OURS)
        whole.paste(panel, (number * (plain.width + 4), 0))
    return whole
