"""Intervals, changes and pictures of detections."""

import numpy as np
import pytest

from squeeze.core.boxes import Boxes, Detections
from squeeze.tasks.detection import average_precision, bootstrap, metrics

NAMES = ("ant", "bee", "cat", "dog")


def scene(rng: np.random.Generator) -> Boxes:
    count = int(rng.integers(0, 8))
    corners = rng.uniform(0, 80, (count, 2))
    xyxy = np.concatenate([corners, corners + rng.uniform(8, 60, (count, 2))], axis=1)
    classes = rng.integers(0, 3, count)  # no image has the last class
    return Boxes.of(xyxy, classes, ignored=rng.random(count) < 0.15)


def seen(truth: Boxes, rng: np.random.Generator, noise: float) -> Detections:
    """Boxes moved, some missed, some doubled, some of thin air."""
    kept = rng.random(len(truth)) > 0.2
    near = truth.xyxy[kept] + rng.normal(0, noise, (int(kept.sum()), 4))
    corners = rng.uniform(0, 90, (4, 2))
    wild = np.concatenate([corners, corners + rng.uniform(5, 40, (4, 2))], axis=1)
    xyxy = np.concatenate([near, near + rng.normal(0, 1, near.shape), wild])
    xyxy[:, 2:] = np.maximum(xyxy[:, 2:], xyxy[:, :2] + 1)
    classes = np.concatenate([truth.classes[kept]] * 2 + [rng.integers(0, 4, 4)])
    return Detections.of(xyxy, rng.random(len(xyxy)).round(2), classes)


@pytest.fixture(scope="module")
def scenes() -> tuple[list[Boxes], list[Detections], list[Detections]]:
    rng = np.random.default_rng(3)
    truth = [scene(rng) for _ in range(60)]
    return truth, [seen(t, rng, 2.0) for t in truth], [seen(t, rng, 6.0) for t in truth]


@pytest.mark.parametrize("which", [1, 2])
def test_the_undrawn_set_scores_as_cocos_own_code_does(
    which: int, scenes: tuple[list[Boxes], list[Detections], list[Detections]]
) -> None:
    truth, found = scenes[0], scenes[which]
    expected = average_precision.score(found, truth, NAMES)
    drawn = bootstrap.draw(found, truth, len(NAMES))
    assert drawn.map == pytest.approx(expected.map, abs=1e-9)
    assert drawn.ap50 == pytest.approx(expected.ap50, abs=1e-9)


def test_a_draw_scores_as_the_drawn_images_do(
    scenes: tuple[list[Boxes], list[Detections], list[Detections]],
) -> None:
    truth, rng = scenes[0], np.random.default_rng(1)  # ties would come in another order
    found = [Detections.of(d.xyxy, rng.random(len(d)), d.classes) for d in scenes[1]]
    chosen = np.random.default_rng(0).integers(0, len(truth), len(truth))  # the first draw
    drawn_truth = [truth[i] for i in chosen]
    expected = average_precision.score([found[i] for i in chosen], drawn_truth, NAMES)
    drawn = bootstrap.draw(found, truth, len(NAMES)).drawn[0]
    assert drawn == pytest.approx((expected.map, expected.ap50), abs=1e-9)


def test_a_worse_model_drops_and_the_same_one_does_not(
    scenes: tuple[list[Boxes], list[Detections], list[Detections]],
) -> None:
    truth, good, bad = scenes
    worse = metrics.compare(good, bad, truth, len(NAMES))
    assert 0 < worse.drop.low < worse.drop.value < worse.drop.high < 1
    assert worse.ap50_drop.value > 0
    assert worse.agreement.low < worse.agreement.value < worse.agreement.high <= 1
    same = metrics.compare(good, good, truth, len(NAMES))
    assert (same.drop.low, same.drop.value, same.drop.high) == (0, 0, 0)
    assert 0.9 < same.agreement.low < same.agreement.value == 1  # of 60 images


def test_the_paired_interval_is_narrower_than_the_sum_of_both(
    scenes: tuple[list[Boxes], list[Detections], list[Detections]],
) -> None:
    truth, good, _ = scenes
    rng = np.random.default_rng(0)
    near = [
        Detections.of(d.xyxy + rng.normal(0, 0.3, d.xyxy.shape), d.scores, d.classes) for d in good
    ]
    one = metrics.score(good, truth, NAMES).map
    drop = metrics.compare(good, near, truth, len(NAMES)).drop
    assert drop.high - drop.low < (one.high - one.low) / 2


def test_agreement_by_hand() -> None:
    before = Detections.of(
        [[0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]], [0.9, 0.8, 0.1], [0, 1, 2]
    )
    # the first is there, twice; the second has another class; the third was never sure
    after = Detections.of(
        [[1, 0, 10, 10], [0, 0, 10, 10], [20, 20, 30, 30]], [0.9, 0.5, 0.8], [0, 0, 2]
    )
    assert metrics.agreement([before], [after]) == 0.5
    assert metrics.agreement([after], [before]) == pytest.approx(1 / 3)
    assert metrics.agreement([Detections.none()], [after]) == 1.0


def test_the_score_lists_classes_without_boxes(
    scenes: tuple[list[Boxes], list[Detections], list[Detections]],
) -> None:
    truth, good, _ = scenes
    found = metrics.score(good, truth, NAMES)
    assert [each.name for each in found.per_class] == list(NAMES)
    assert (found.per_class[3].boxes, found.per_class[3].ap) == (0, None)
    assert found.map.low < found.map.value < found.map.high
    assert found.headline == ("mAP", found.map)
