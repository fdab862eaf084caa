"""How good detections are: COCO's average precisions, and VOC's.

Average precision (AP) is the area under the curve of precision over recall of one class; a
detection is right when it overlaps an annotated box of its class that no better one has taken, by
an intersection over union (IoU) of at least a threshold. COCO's are computed by faster-coco-eval.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.boxes import Boxes, Detections, count_boxes, overlaps
from squeeze.core.errors import SqueezeError
from squeeze.results import ClassPrecision

if TYPE_CHECKING:
    from numpy.typing import NDArray

CocoEntry = dict[str, object]
"""Keys and values of COCO's JSON."""

_HALF = 0.5
_IOU_50, _IOU_75 = 0, 5
_ALL, _SMALL, _MEDIUM, _LARGE = range(4)
_HUNDRED = 2


@dataclass(frozen=True)
class DetectionScore:
    """Average precisions over all classes that have boxes, in [0, 1].

    Attributes:
        images: How many were scored.
        boxes: Annotated boxes in them; ignored ones do not count.
        map: COCO's mAP: mean over classes and over IoU 0.5, 0.55, … 0.95.
        ap50: At IoU 0.5.
        ap75: At IoU 0.75.
        small: mAP for annotated areas below 32² pixels of the picture; None without such boxes.
        medium: From 32² to 96².
        large: Above 96².
        recall: Mean over the same thresholds of the recall of the best 100 detections per image.
        voc_ap50: Mean over classes of VOC's AP at IoU 0.5.
        per_class: In the order of the classes.
    """

    images: int
    boxes: int
    map: float
    ap50: float
    ap75: float
    small: float | None
    medium: float | None
    large: float | None
    recall: float
    voc_ap50: float
    per_class: tuple[ClassPrecision, ...]


def score(
    detections: Sequence[Detections], truth: Sequence[Boxes], classes: Sequence[str]
) -> DetectionScore:
    """Compare detections with annotations, both in pixels of the pictures.

    Args:
        detections: Per image; those of one class beyond its best 100 do not count for COCO.
        truth: Per image, in the same order. Ignored boxes count as COCO's crowds: any number of
            detections mostly inside one are neither right nor wrong. VOC's AP ignores detections
            that overlap one best, as VOC does.
        classes: Names; a class index points into them.

    Raises:
        SqueezeError: Detections that are not finite or of a class that does not exist, another
            number of images, or no annotated box at all.

    Source: https://cocodataset.org/#detection-eval
    """
    _check(detections, truth, len(classes))
    found = _coco(detections, truth, len(classes))
    precision: NDArray[np.float64] = found["precision"][..., _HUNDRED]
    recall: NDArray[np.float64] = found["recall"][:, :, _ALL, _HUNDRED]
    voc = voc_ap50(detections, truth, len(classes))
    counts = count_boxes(truth, len(classes))
    return DetectionScore(
        images=len(truth),
        boxes=int(counts.sum()),
        map=_mean(precision[..., _ALL]) or 0.0,
        ap50=_mean(precision[_IOU_50, ..., _ALL]) or 0.0,
        ap75=_mean(precision[_IOU_75, ..., _ALL]) or 0.0,
        small=_mean(precision[..., _SMALL]),
        medium=_mean(precision[..., _MEDIUM]),
        large=_mean(precision[..., _LARGE]),
        recall=_mean(recall) or 0.0,
        voc_ap50=float(np.mean([ap for ap in voc if ap is not None])),
        per_class=tuple(
            _of_class(name, int(counts[k]), precision[:, :, k, _ALL], voc[k])
            for k, name in enumerate(classes)
        ),
    )


def _of_class(
    name: str, boxes: int, precision: "NDArray[np.float64]", voc: float | None
) -> ClassPrecision:
    """Return a class's figures from its precision ``(10, 101)`` by threshold and recall."""
    return ClassPrecision(
        name=name,
        boxes=boxes,
        ap=_mean(precision),
        ap50=_mean(precision[_IOU_50]),
        voc_ap50=voc,
        curve=tuple(np.maximum(precision[_IOU_50], 0).tolist()),
    )


def voc_ap50(
    detections: Sequence[Detections], truth: Sequence[Boxes], classes: int
) -> list[float | None]:
    """Return VOC's AP per class at IoU 0.5: the area under the whole curve, not 11 points of it.

    A detection belongs to the annotated box that it overlaps most; if a better one has that box
    already, it is wrong. This is where VOC differs from COCO, which then tries the next box. Boxes
    are taken as continuous, where VOC's own code adds a pixel to sides counted in whole pixels.

    Args:
        detections: Per image.
        truth: Per image.
        classes: How many there are.

    Returns:
        Per class in [0, 1], or None when there is no box of it that is not ignored.

    Source: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf, section 3.4
    """
    parts = [_matched(found, boxes) for found, boxes in zip(detections, truth, strict=True)]
    scores, labels, right = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(-scores, kind="stable")
    labels, right = labels[order], right[order]
    totals = count_boxes(truth, classes).tolist()
    return [
        _area_under_curve(right[labels == number], total) if total else None
        for number, total in enumerate(totals)
    ]


def _area_under_curve(right: "NDArray[np.bool_]", total: int) -> float:
    """Return average precision from the rightness of detections, best first, and all boxes."""
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    # the best precision at this recall or any higher one
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[right].sum() / total)


def _matched(
    found: Detections, boxes: Boxes
) -> "tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]":
    """Return score, class and rightness of one image's detections that count, best first."""
    if len(found) == 0 or len(boxes) == 0:
        return found.scores, found.classes, np.zeros(len(found), np.bool_)
    shares = overlaps(found.xyxy, boxes.xyxy)
    shares[found.classes[:, None] != boxes.classes[None]] = 0
    nearest = shares.argmax(1)
    near = shares.max(1) >= _HALF
    first = np.zeros(len(found), np.bool_)
    first[np.flatnonzero(near)[np.unique(nearest[near], return_index=True)[1]]] = True
    counts = ~(near & boxes.ignored[nearest])
    return found.scores[counts], found.classes[counts], first[counts]


def _check(detections: Sequence[Detections], truth: Sequence[Boxes], classes: int) -> None:
    if len(detections) != len(truth):
        raise SqueezeError(
            f"there are detections for {len(detections)} images and annotations for {len(truth)}"
        )
    for position, found in enumerate(detections):
        if not (np.isfinite(found.xyxy).all() and np.isfinite(found.scores).all()):
            raise SqueezeError(f"detections of image {position} hold NaN or infinity")
        if len(found) and not 0 <= found.classes.min() <= found.classes.max() < classes:
            raise SqueezeError(
                f"detections of image {position} have classes {found.classes.min()} to "
                f"{found.classes.max()}, but there are {classes} classes",
                hint="name the model's classes in order, also those that the data lacks: 'classes' "
                "of the data, or squeeze eval --classes",
            )
    if not any((~boxes.ignored).any() for boxes in truth):
        raise SqueezeError(
            "the images have no annotated box, so precision cannot be measured",
            hint="choose images with boxes, or check the annotations' path",
        )


def _coco(
    detections: Sequence[Detections], truth: Sequence[Boxes], classes: int
) -> "dict[str, NDArray[np.float64]]":
    """Return precision ``(10, 101, K, 4, 3)`` and recall ``(10, K, 4, 3)``, -1 without boxes."""
    from faster_coco_eval import COCO, COCOeval_faster

    dataset = coco_dataset(truth, classes)
    annotated = COCO(dataset, print_function=_silent)
    # what its loadRes() does, less the outlines that it draws around every box
    results = COCO(dataset | {"annotations": coco_results(detections)}, print_function=_silent)
    evaluation = COCOeval_faster(annotated, results, iouType="bbox", print_function=_silent)
    evaluation.evaluate()
    evaluation.accumulate()
    found: dict[str, NDArray[np.float64]] = evaluation.eval
    return found


def coco_dataset(truth: Sequence[Boxes], classes: int) -> CocoEntry:
    """Return annotations in COCO's form; images and classes are numbered from 1, in order."""
    annotations: list[CocoEntry] = []
    for image, boxes in enumerate(truth, 1):
        for corners, category, ignored, area in zip(
            _with_sides(boxes.xyxy),
            (boxes.classes + 1).tolist(),
            boxes.ignored.tolist(),
            boxes.areas.tolist(),
            strict=True,
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,  # COCO's code takes 0 for "not matched"
                    "image_id": image,
                    "category_id": category,
                    "bbox": corners,
                    "area": area,
                    "iscrowd": int(ignored),
                }
            )
    return {
        "images": [{"id": image} for image in range(1, len(truth) + 1)],
        "categories": [{"id": k, "name": str(k)} for k in range(1, classes + 1)],
        "annotations": annotations,
    }


def coco_results(detections: Sequence[Detections]) -> list[CocoEntry]:
    """Return detections in COCO's form, numbered as in ``coco_dataset``."""
    rows = (
        (image, category, corners, certainty)
        for image, found in enumerate(detections, 1)
        for corners, category, certainty in zip(
            _with_sides(found.xyxy),
            (found.classes + 1).tolist(),
            found.scores.tolist(),
            strict=True,
        )
    )
    return [
        {
            "id": number,
            "image_id": image,
            "category_id": category,
            "bbox": corners,
            "score": certainty,
            "area": corners[2] * corners[3],
            "iscrowd": 0,
        }
        for number, (image, category, corners, certainty) in enumerate(rows, 1)
    ]


def _with_sides(xyxy: "NDArray[np.float32]") -> list[list[float]]:
    """Return left, top, width and height of boxes ``(n, 4)``."""
    corners = xyxy.astype(np.float64)
    sided: list[list[float]] = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]).tolist()
    return sided


def _mean(values: "NDArray[np.float64]") -> float | None:
    """Return the mean of those that exist; COCO's code marks the others with -1."""
    there = values[values > -1]
    return float(there.mean()) if there.size else None


def _silent(*_: object) -> None:
    """Print nothing."""
