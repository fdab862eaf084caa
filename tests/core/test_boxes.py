"""Boxes keep their types, and placements are exact both ways."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze.core.boxes import Boxes, Detections, Placement, areas_of, count_boxes, overlaps

_SIDE = st.integers(1, 5000)
_SHARE = st.floats(0, 1, width=32)


def test_lists_become_boxes_of_the_right_types() -> None:
    """Areas are the boxes', nothing is ignored, unless told."""
    boxes = Boxes.of([[1, 2, 4, 8], [0, 0, 0, 5]], [3, 1])
    assert boxes.xyxy.dtype == np.float32
    assert boxes.classes.dtype == np.int64
    assert boxes.areas.tolist() == [18, 0]
    assert boxes.ignored.tolist() == [False, False]
    assert len(Boxes.none()) == 0
    assert Boxes.none().xyxy.shape == (0, 4)


def test_lengths_must_agree() -> None:
    """A class too few is an error where the boxes are made."""
    with pytest.raises(ValueError, match="differ in length"):
        Boxes.of([[1, 2, 3, 4]], [])
    with pytest.raises(ValueError, match="differ in length"):
        Detections.of([[1, 2, 3, 4]], [0.5], [1, 2])


def test_detections_come_best_first_and_ties_keep_their_order() -> None:
    """Sorting is stable: the metric counts on it."""
    found = Detections.of(np.arange(16).reshape(4, 4), [0.2, 0.9, 0.2, 0.5], [0, 1, 2, 3])
    assert found.classes.tolist() == [1, 3, 0, 2]
    assert found.take(slice(2)).scores.tolist() == pytest.approx([0.9, 0.5])


def test_boxes_inside_out_have_no_area() -> None:
    """Negative sides do not multiply to something."""
    assert areas_of(np.array([[5, 5, 1, 1], [0, 0, 2, 3]], np.float32)).tolist() == [0, 6]


def test_ignored_boxes_do_not_count() -> None:
    """A crowd is no object of its class."""
    boxes = Boxes.of([[0, 0, 1, 1]] * 3, [0, 2, 2], ignored=[False, True, False])
    assert count_boxes([boxes, Boxes.none()], 3).tolist() == [1, 0, 1]


@given(
    height=_SIDE,
    width=_SIDE,
    scales=st.tuples(st.floats(0.01, 20), st.floats(0.01, 20)),
    offsets=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
    corners=st.tuples(_SHARE, _SHARE, _SHARE, _SHARE),
)
def test_into_the_input_and_back_is_the_same_box(
    height: int,
    width: int,
    scales: tuple[float, float],
    offsets: tuple[float, float],
    corners: tuple[float, float, float, float],
) -> None:
    """Up to what float32 keeps of a coordinate in the input."""
    placement = Placement(*scales, *offsets, (height, width))
    box = np.array([corners], np.float32) * np.array([width, height, width, height], np.float32)
    moved = placement.into(box)
    step = np.spacing(np.abs(moved).max()) / min(scales) + np.spacing(box.max())
    assert np.abs(placement.back(moved) - box).max() <= step


def test_back_cuts_off_at_the_picture() -> None:
    """What a model draws into the bars of a letterbox is not in the picture."""
    placement = Placement(0.5, 0.5, 0, 10, (40, 80))
    found = Detections.of([[-5, 0, 60, 25]], [1], [0]).back(placement)
    assert found.xyxy.tolist() == [[0, 0, 80, 30]]


def test_annotated_areas_scale_with_the_picture() -> None:
    """A segment's area is no product of the box's sides, but grows like them."""
    boxes = Boxes.of([[0, 0, 4, 4]], [0], areas=[10]).into(Placement(2, 3, 1, 1, (8, 8)))
    assert boxes.areas.tolist() == [60]
    assert boxes.xyxy.tolist() == [[1, 1, 9, 13]]


def test_overlaps_are_shares_of_the_union() -> None:
    """Half of each other: a third of both together. A box without area overlaps nothing."""
    one = np.array([[0, 0, 4, 2], [1, 1, 1, 5]], np.float32)
    other = np.array([[2, 0, 6, 2], [0, 0, 4, 2], [9, 9, 10, 10]], np.float32)
    assert overlaps(one, other).tolist() == [[pytest.approx(1 / 3), 1, 0], [0, 0, 0]]
