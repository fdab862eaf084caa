"""Distillation: the loss against its formula, and teachers that do not fit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torchdistill.losses.mid_level import KDLoss

from squeeze.core.errors import InputError
from squeeze.core.types import Silent
from squeeze.methods.distill.losses import kd
from squeeze.methods.distill.step import distill
from squeeze.methods.training.loop import Training
from squeeze.recipe.schema import DistillStep, InputSpec, LossBlock, ModelBlock
from squeeze.sources.data import Data
from squeeze.sources.models import Model, build
from squeeze.tasks import classification


def test_kd_is_hintons_formula_and_torchdistills_loss() -> None:
    torch.manual_seed(0)
    student, teacher, labels = torch.randn(6, 10), torch.randn(6, 10), torch.arange(6)
    found = kd.build(LossBlock(name="kd", temperature=3.0))(student, teacher, labels)
    p, q = (torch.softmax(x.double() / 3, dim=1) for x in (teacher, student))
    by_hand = 9 * (p * (p.log() - q.log())).sum() / 6
    assert float(found) == pytest.approx(float(by_hand), abs=1e-6)
    whole = KDLoss("l", "output", "l", "output", temperature=3.0, alpha=0.5)
    reference = whole({"l": {"output": student}}, {"l": {"output": teacher}}, labels)
    cross_entropy = torch.nn.functional.cross_entropy(student, labels)
    assert float(0.5 * cross_entropy + 0.5 * found) == pytest.approx(float(reference), abs=1e-6)


def step(**changes: object) -> DistillStep:
    return DistillStep.model_validate({"epochs": 1, "lr": 0.02, "teacher": "baseline"} | changes)


def training(digits: Data) -> Training:
    assert digits.train is not None
    return Training(digits.train, digits.validation, classification, 0, Silent(), "distilling")


def test_the_student_learns_from_the_teacher_alone(trained: Model, digits: Data) -> None:
    torch.manual_seed(3)
    block = ModelBlock(
        build="builtin:resnet8", args=dict(trained.architecture.args), input=trained.input
    )
    fresh = build(block, Path())
    teacher_before = {k: v.clone() for k, v in trained.module.state_dict().items()}
    student, epochs = distill(
        fresh, trained, step(epochs=4, lr=0.1, label_weight=0.0), training(digits)
    )
    assert epochs[-1].top1 > 0.85
    assert student.module is not fresh.module
    for key, value in trained.module.state_dict().items():
        assert torch.equal(value, teacher_before[key])


def test_teachers_that_do_not_fit_are_refused(trained: Model, digits: Data) -> None:
    block = ModelBlock(
        build="builtin:resnet8", args={"num_classes": 5, "in_channels": 1}, input=trained.input
    )
    with pytest.raises(InputError, match="teacher: has 5 outputs, the student 10"):
        distill(trained, build(block, Path()), step(), training(digits))
    spec = InputSpec(shape=(1, 20, 20))
    larger = Model(trained.module, replace(trained.architecture, input=spec))
    with pytest.raises(InputError, match="takes"):
        distill(trained, larger, step(), training(digits))
