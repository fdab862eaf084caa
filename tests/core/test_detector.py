"""What a detector's numbers mean, against boxes worked out by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest

from squeeze.core.detector import DetectorSpec, Level

GRID = DetectorSpec(
    "retinanet", 3, (Level(8, ((8, 8), (16, 8))), Level(16, ((32, 32),))), box_weights=(1, 1, 2, 2)
)


def test_anchors_run_by_level_row_column_and_anchor() -> None:
    fine, coarse = GRID.anchors((16, 24))
    assert fine[:4].tolist() == [[0, 0, 8, 8], [-4, 0, 12, 8], [8, 0, 16, 8], [4, 0, 20, 8]]
    assert coarse.tolist() == [[-8, -8, 24, 24], [8, -8, 40, 24]]
    assert GRID.places((16, 24)) == len(fine) + len(coarse) == 2 * 6 + 2


def test_cells_at_the_border_count() -> None:
    assert GRID.grid(GRID.levels[0], (17, 23)) == (3, 3)


@pytest.mark.parametrize(("step", "second"), [("stride", 8), ("floor", 6), ("even", 20 / 3)])
def test_centres_are_a_step_apart(step: str, second: float) -> None:
    spec = replace(GRID, step=step, offset=0.0)  # type: ignore[arg-type]
    centre = spec.anchors((20, 20))[0][2].reshape(2, 2).mean(0)
    assert centre.tolist() == pytest.approx([second, 0])


def test_relative_anchors_are_shares_of_the_input() -> None:
    spec = replace(GRID, levels=(Level(50, ((0.5, 0.1),)),), relative=True)
    assert np.allclose(spec.anchors((50, 100)), [[[0, 22.5, 50, 27.5], [50, 22.5, 100, 27.5]]])


def test_json_keeps_everything() -> None:
    spec = replace(GRID, size=(64, 96), background=0)
    assert DetectorSpec.of_json(json.loads(json.dumps(spec.as_json()))) == spec
    assert spec.columns == 4
    assert replace(spec, background=None).columns == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decoder": "magic"}, "decoder is 'magic', allowed: anchor_grid"),
        ({"classes": 0}, "classes must be 1 or more"),
        ({"levels": ()}, "levels are missing"),
        ({"scores": "softmax"}, "softmax needs a background"),
        ({"background": 4}, "background must be one of the columns"),
        ({"nms_iou": 0.0}, "nms_iou must be in"),
    ],
)
def test_numbers_that_cannot_work_are_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(GRID, **change)  # type: ignore[arg-type]
