"""Detectors imitate detectors: their answers, and maps by masks from boxes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from squeeze.core.boxes import Boxes
from squeeze.core.errors import InputError
from squeeze.core.types import Silent
from squeeze.data.sets import Data, Opening, open_data
from squeeze.distillation.losses import detector_kd, fgd
from squeeze.distillation.step import distill
from squeeze.distillation.traits import Views
from squeeze.models.blocks import build
from squeeze.models.types import Model
from squeeze.recipe import losses
from squeeze.recipe.schema import (
    DataBlock,
    DistillStep,
    InputSpec,
    LossBlock,
    ModelBlock,
)
from squeeze.tasks.detection.task import Detection
from squeeze.training.inputs import Training

SIDE = 64
SPEC = InputSpec(shape=(3, SIDE, SIDE), fit="letterbox")


@pytest.fixture(scope="module")
def scenes() -> Data:
    part = {"format": "digit_scenes", "args": {"scenes": 6, "side": SIDE, "most": 2}}
    block = DataBlock.model_validate({"train": part, "validation": part | {"split": "validation"}})
    return open_data(block, Opening(Path(), SPEC, 0, Silent()), trains=True, calibrates=False)


def detector(seed: int, channels: int = 16) -> Model:
    torch.manual_seed(seed)
    args = {"num_classes": 10, "width_mult": 0.25, "channels": channels}
    return build(ModelBlock(build="builtin:tinydet", args=args, input=SPEC), Path())


def views(outputs: tuple[torch.Tensor, ...], model: Model, maps: Any = ()) -> Views:
    images = torch.zeros(len(outputs[0]), 3, SIDE, SIDE)
    return Views(
        images, outputs[0], tuple(maps), (), lambda _: None, None, outputs, model.module.detector
    )  # type: ignore[arg-type, return-value]


def test_equal_answers_cost_nothing_and_boxes_count_where_the_teacher_sees_something() -> None:
    model = detector(0)
    term = detector_kd.build(detector_kd.Options(), None, None)  # type: ignore[arg-type]
    logits = torch.full((1, 5, 10), -9.0)
    logits[0, 2, 3] = 4.0
    regression = torch.zeros(1, 5, 4)
    goal = views((logits, regression), model)
    assert float(term(goal, goal, [])) == pytest.approx(0.0, abs=1e-6)
    moved = regression.clone()
    moved[0, 2] = 1.0
    where_it_sees = float(term(views((logits, moved), model), goal, []))
    moved = regression.clone()
    moved[0, 0] = 1.0
    elsewhere = float(term(views((logits, moved), model), goal, []))
    sure, unsure = torch.sigmoid(torch.tensor([4.0, -9.0])).tolist()
    assert where_it_sees == pytest.approx(sure / max(1.0, sure + 4 * unsure), rel=1e-3)
    assert elsewhere == pytest.approx(unsure, rel=1e-2)


def test_every_box_weighs_the_same_and_so_do_inside_and_outside() -> None:
    labels = [Boxes.of([[0, 0, 32, 32], [48, 48, 64, 64]], [1, 2]), Boxes.none()]
    inside, outside = fgd._masks(labels, torch.zeros(2, 7, 8, 8), (SIDE, SIDE))
    assert float(inside[0, :4, :4].sum()) == pytest.approx(0.5)
    assert float(inside[0, 6:, 6:].sum()) == pytest.approx(0.5)
    assert float(inside[0].sum()) == pytest.approx(1.0)
    assert float(outside[0].sum()) == pytest.approx(1.0)
    assert float(inside[1].sum()) == 0.0
    assert not bool(((inside > 0) & (outside > 0)).any())


def test_boxes_outside_of_the_map_still_find_a_place() -> None:
    labels = [Boxes.of([[63.9, 63.9, 64, 64], [-5, -5, 0.5, 0.5]], [0, 0])]
    inside, _ = fgd._masks(labels, torch.zeros(1, 1, 8, 8), (SIDE, SIDE))
    assert float(inside[0, 7, 7]) == float(inside[0, 0, 0]) == pytest.approx(0.5)


def test_attention_has_mean_one_and_equal_maps_cost_nothing() -> None:
    maps = torch.randn(2, 6, 5, 4, generator=torch.Generator().manual_seed(0))
    where, which = fgd._attention(maps, 0.5)
    assert where.mean((1, 2, 3)).tolist() == pytest.approx([1, 1])
    assert which.mean((1, 2, 3)).tolist() == pytest.approx([1, 1])
    masks = torch.full((2, 5, 4), 0.05), torch.full((2, 5, 4), 0.05)
    assert float(fgd._focal(maps, maps, masks, fgd.Options())) == 0.0


def test_a_narrower_student_learns_from_answers_and_maps(scenes: Data) -> None:
    assert scenes.train is not None
    student, teacher = detector(1, channels=8), detector(0)
    task = Detection((SIDE, SIDE)).of(teacher.module)
    training = Training(scenes.train, scenes.validation, task, 0, Silent(), "distilling")
    blocks = (
        LossBlock(name="detector_kd"),
        LossBlock.model_validate(
            {"name": "fgd", "layers": [{"teacher": "neck.smooth.?", "student": "neck.smooth.?"}]}
        ),
    )
    step = DistillStep(
        epochs=8,
        lr=0.003,
        batch_size=3,
        optimizer="adamw",
        teacher="baseline",
        losses=blocks,
        label_weight=0.0,
    )
    before = [p.clone() for p in student.module.parameters()]
    done, epochs, notes = distill(student, teacher, step, training)
    assert epochs[-1].loss < 0.8 * epochs[0].loss
    assert all(torch.equal(a, b) for a, b in zip(before, student.module.parameters(), strict=True))
    assert not any(len(m._forward_hooks) for m in done.module.modules())
    assert notes[0].startswith("fgd: neck.smooth.0, neck.smooth.1, neck.smooth.2")
    assert "teacher outputs cached: 88% of its forward passes saved" in notes
    assert np.isfinite([epoch.score for epoch in epochs]).all()


def test_a_teacher_with_other_classes_is_refused(scenes: Data) -> None:
    assert scenes.train is not None
    args = {"num_classes": 4, "width_mult": 0.25, "channels": 8}
    other = build(ModelBlock(build="builtin:tinydet", args=args, input=SPEC), Path())
    student = detector(0)
    task = Detection((SIDE, SIDE)).of(student.module)
    training = Training(scenes.train, scenes.validation, task, 0, Silent(), "distilling")
    step = DistillStep(
        epochs=1, batch_size=3, teacher="baseline", losses=(LossBlock(name="detector_kd"),)
    )
    with pytest.raises(InputError, match=r"shape \(84, 4\), \(84, 4\), the student \(84, 10\)"):
        distill(student, other, step, training)


def test_losses_of_the_other_task_are_reported() -> None:
    ((_, what),) = losses.mistakes(LossBlock(name="kd"), 8, "detection")
    assert what.startswith("'kd' is not for detection; allowed: ab, at, detector_kd, fgd, fitnet")
    ((_, what),) = losses.mistakes(LossBlock(name="fgd"), 8, "classification")
    assert what.startswith("'fgd' is not for classification; allowed: ab")
    assert not list(losses.mistakes(LossBlock(name="fitnet"), 8, "detection"))
