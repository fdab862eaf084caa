"""COCO's average precision against pycocotools, VOC's against cases worked out by hand."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from squeeze.core.boxes import Boxes, Detections
from squeeze.core.errors import SqueezeError
from squeeze.tasks.detection import average_precision

CLASSES = ("ant", "bee", "cat", "dog")


def scene(rng: np.random.Generator, side: float, classes: int) -> tuple[Boxes, Detections]:
    """Draw annotations, and detections that hit, miss, repeat and confuse them."""
    count = int(rng.integers(0, 8))
    corners = rng.uniform(0, side * 0.7, (count, 2))
    sides = side * 2.0 ** rng.uniform(-6, -1, (count, 2))
    xyxy = np.hstack([corners, corners + sides])
    labels = rng.integers(0, classes, count)
    truth = Boxes.of(
        xyxy, labels, ignored=rng.random(count) < 0.15, areas=sides.prod(1) * rng.uniform(0.5, 1)
    )
    moved = np.repeat(truth.xyxy, 3, 0)
    moved = moved + rng.normal(0, 0.07, moved.shape) * np.repeat(sides, 3, 0).repeat(2, 1)
    noise = rng.uniform(0, side / 2, (5, 2))
    xyxy = np.vstack([moved, np.hstack([noise, noise + rng.uniform(5, side / 3, (5, 2))])])
    guessed = np.concatenate([np.repeat(labels, 3), rng.integers(0, classes, 5)])
    wrong = rng.random(len(guessed)) < 0.1
    guessed[wrong] = rng.integers(0, classes, wrong.sum())
    # coarse scores: ties are where implementations differ
    return truth, Detections.of(xyxy, rng.integers(1, 20, len(xyxy)) / 20, guessed)


def pycocotools(
    found: Sequence[Detections], truth: Sequence[Boxes], classes: int
) -> tuple[Any, Any]:
    """Return pycocotools' twelve figures and its precisions."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        annotated = COCO()
        annotated.dataset = average_precision.coco_dataset(truth, classes)
        annotated.createIndex()
        results = annotated.loadRes(average_precision.coco_results(found))
        evaluation = COCOeval(annotated, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats, evaluation.eval["precision"]


@pytest.mark.parametrize("seed", range(3))
def test_average_precisions_are_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, found = zip(*(scene(rng, 300, 3) for _ in range(60)), strict=True)
    scored = average_precision.score(found, truth, CLASSES)  # the fourth class has no boxes
    stats, precision = pycocotools(found, truth, 4)
    figures = (scored.map, scored.ap50, scored.ap75, scored.small, scored.medium, scored.large)
    assert np.allclose(np.array(figures, float), stats[:6], atol=1e-6, rtol=0)
    assert scored.recall == pytest.approx(stats[8], abs=1e-6)
    assert 0.2 < scored.map < 0.9
    for number, of_class in enumerate(scored.per_class[:3]):
        assert of_class.ap == pytest.approx(precision[:, :, number, 0, 2].mean(), abs=1e-6)
        assert of_class.ap50 == pytest.approx(precision[0, :, number, 0, 2].mean(), abs=1e-6)
        assert np.allclose(of_class.curve, precision[0, :, number, 0, 2])
    assert scored.per_class[3].ap is None
    assert scored.per_class[3].voc_ap50 is None


def test_more_than_a_hundred_detections_of_an_image_are_pycocotools_too() -> None:
    rng = np.random.default_rng(0)
    truth, found = zip(*(scene(rng, 300, 1) for _ in range(5)), strict=True)
    many = [
        Detections.of(np.tile(f.xyxy, (20, 1)), rng.random(20 * len(f)), np.tile(f.classes, 20))
        for f in found
    ]
    assert min(map(len, many)) >= 100
    stats, _ = pycocotools(many, truth, 1)
    assert average_precision.score(many, truth, ["a"]).map == pytest.approx(stats[0], abs=1e-6)


def test_perfect_detections_score_one_and_none_zero() -> None:
    truth = [Boxes.of([[0, 0, 50, 50], [60, 60, 99, 99]], [0, 1]), Boxes.none()]
    perfect = [Detections.of(t.xyxy, np.ones(len(t)), t.classes) for t in truth]
    best = average_precision.score(perfect, truth, CLASSES[:2])
    assert (best.map, best.ap50, best.ap75, best.voc_ap50, best.recall) == (1, 1, 1, 1, 1)
    assert (best.images, best.boxes, best.small, best.medium) == (2, 2, None, 1)
    worst = average_precision.score([Detections.none()] * 2, truth, CLASSES[:2])
    assert (worst.map, worst.voc_ap50, worst.recall) == (0, 0, 0)


def test_vocs_precision_by_hand() -> None:
    """Right, wrong, right of three boxes: precisions 1, 1/2, 2/3, the envelope 1, 2/3."""
    truth = [Boxes.of([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], [0, 0, 0])]
    found = [
        Detections.of([[0, 0, 10, 9], [70, 0, 80, 9], [20, 1, 30, 10]], [0.9, 0.8, 0.7], [0] * 3)
    ]
    assert average_precision.voc_ap50(found, truth, 1)[0] == pytest.approx((1 + 2 / 3) / 3)


def test_a_second_detection_of_a_box_is_wrong_even_with_a_free_box_beside_it() -> None:
    """VOC looks at the nearest box only; COCO would give it the other one."""
    truth = [Boxes.of([[0, 0, 10, 10], [2, 0, 12, 10]], [0, 0])]
    found = [Detections.of([[0, 0, 10, 10], [0.5, 0, 10.5, 10]], [0.9, 0.8], [0, 0])]
    assert average_precision.voc_ap50(found, truth, 1)[0] == pytest.approx(0.5)
    assert average_precision.score(found, truth, ["a"]).ap50 == pytest.approx(1)


def test_difficult_boxes_are_neither_right_nor_wrong() -> None:
    truth = [Boxes.of([[0, 0, 10, 10], [20, 0, 30, 10]], [0, 0], ignored=[True, False])]
    found = [Detections.of([[0, 0, 10, 10], [20, 0, 30, 10]], [0.9, 0.8], [0, 0])]
    scored = average_precision.score(found, truth, ["a"])
    assert (scored.boxes, scored.ap50, scored.voc_ap50) == (1, 1, 1)


def test_what_cannot_be_scored_says_why() -> None:
    truth = [Boxes.of([[0, 0, 9, 9]], [0])]
    one = Detections.of([[0, 0, 9, 9]], [1], [0])
    for found, annotated, text in (
        ([], truth, "detections for 0 images and annotations for 1"),
        ([Detections.of([[0, 0, np.nan, 9]], [1], [0])], truth, "image 0 hold NaN"),
        ([Detections.of(one.xyxy, [1], [5])], truth, "classes 5 to 5, but there are 1"),
        ([one], [Boxes.none()], "the images have no annotated box"),
    ):
        with pytest.raises(SqueezeError, match=text):
            average_precision.score(found, annotated, ["a"])
