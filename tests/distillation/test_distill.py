"""Distillation: what the student learns, what is left behind (nothing), what is refused."""

import copy
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from squeeze.core.errors import InputError
from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.distillation.imitation import imitating
from squeeze.distillation.step import distill
from squeeze.models.blocks import build
from squeeze.models.types import Model
from squeeze.recipe.schema import DistillStep, InputSpec, LossBlock, ModelBlock
from squeeze.tasks.classification import task as classification
from squeeze.training.inputs import Training


def step(**changes: object) -> DistillStep:
    return DistillStep.model_validate({"epochs": 1, "lr": 0.02, "teacher": "baseline"} | changes)


def training(digits: Data, samples: int | None = None) -> Training:
    assert digits.train is not None
    train = digits.train if samples is None else digits.train.take(range(samples))
    return Training(train, digits.validation, classification, 0, Silent(), "distilling")


def fresh(trained: Model, name: str = "resnet8", **args: object) -> Model:
    torch.manual_seed(3)
    given = {"num_classes": 10, "in_channels": 1} | args
    return build(ModelBlock(build=f"builtin:{name}", args=given, input=trained.input), Path())


def state(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def hooks(module: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return list(left) == list(right) and all(torch.equal(left[k], right[k]) for k in left)


def test_the_student_learns_from_the_teacher_alone(trained: Model, digits: Data) -> None:
    student = fresh(trained)
    found, epochs, _ = distill(
        student, trained, step(epochs=4, lr=0.1, label_weight=0.0), training(digits)
    )
    assert epochs[-1].score > 0.85
    assert found.module is not student.module


def test_nobody_keeps_a_trace(trained: Model, digits: Data) -> None:
    """Features, embeddings, adapters and all: only the returned copy's weights have changed."""
    student = fresh(trained)
    before = state(student.module), state(trained.module)
    names = ("fitnet", "crd", "ft", "srrl", "sskd")
    found, _, notes = distill(
        student, trained, step(losses=[{"name": n} for n in names]), training(digits, 128)
    )
    assert equal(before[0], state(student.module))
    assert equal(before[1], state(trained.module))
    assert list(before[0]) == list(found.module.state_dict())
    left = [(n, type(m)) for n, m in found.module.named_modules()]
    assert left == [(n, type(m)) for n, m in student.module.named_modules()]
    assert [hooks(m) for m in (found.module, student.module, trained.module)] == [0, 0, 0]
    assert not found.module.training
    assert notes == [
        "fitnet: stages.1 (paired by spatial size)",
        "ft: stages (paired by spatial size)",
    ]


def test_hooks_are_removed_after_an_exception(trained: Model) -> None:
    student = fresh(trained)
    with pytest.raises(RuntimeError, match="stop"), watching(student, trained):
        assert hooks(student.module) > 0
        raise RuntimeError("stop")
    assert hooks(student.module) == hooks(trained.module) == 0


def watching(student: Model, teacher: Model, *names: str) -> Any:
    return imitating(
        student.module,
        teacher.module,
        [LossBlock(name=name) for name in names or ("at",)],
        labels=lambda _, outputs, labels: nn.functional.cross_entropy(outputs, labels),
        label_weight=1.0,
        shape=student.input.shape,
    )


def test_two_distillations_at_once_do_not_interfere(trained: Model) -> None:
    """One teacher module, two students, forward passes interleaved: the same losses as alone."""
    students = fresh(trained), fresh(trained, "resnet20")
    batches = [torch.randn(4, *trained.input.shape) for _ in range(2)]
    labels = torch.tensor([0, 1, 2, 3])
    names = (("at", "rkd"), ("spkd", "pkt"))

    def alone(which: int) -> float:
        with watching(students[which], trained, *names[which]) as imitation:
            outputs = students[which].module(batches[which])
            return float(imitation.objective(batches[which], outputs, labels).detach())

    expected = [alone(0), alone(1)]
    with watching(students[0], trained, *names[0]) as one:
        with watching(students[1], trained, *names[1]) as two:
            outputs = [s.module(b) for s, b in zip(students, batches, strict=True)]
            second = two.objective(batches[1], outputs[1], labels)
            first = one.objective(batches[0], outputs[0], labels)
        again = one.objective(batches[0], students[0].module(batches[0]), labels)
    assert [float(x.detach()) for x in (first, second)] == expected
    assert float(again.detach()) == expected[0]


def test_a_distillation_inside_another_changes_neither(trained: Model, digits: Data) -> None:
    students = fresh(trained), fresh(trained)
    given = step(losses=[{"name": "at"}]), training(digits, 128)
    expected = state(distill(students[0], trained, *given)[0].module)
    with watching(students[1], trained, "vid"):
        inner = state(distill(students[0], trained, *given)[0].module)
    assert equal(expected, inner)


def test_gradients_stop_at_the_teacher(trained: Model) -> None:
    student = fresh(trained)
    guide = copy.deepcopy(trained.module)  # with requires_grad on
    with watching(student, replace(trained, module=guide), "kd", "fitnet") as imitation:
        images = torch.randn(4, *trained.input.shape)
        loss = imitation.objective(images, student.module(images), torch.tensor([0, 1, 2, 3]))
        loss.backward()
    assert all(p.grad is None for p in guide.parameters())
    assert all(p.grad is not None for p in student.module.parameters())
    assert all(p.grad is not None for p in imitation.extra.parameters())


def test_weights_add_up(trained: Model) -> None:
    student = fresh(trained)
    images, labels = torch.randn(4, *trained.input.shape), torch.tensor([0, 1, 2, 3])
    blocks = [LossBlock(name="kd", weight=0.5), LossBlock(name="at", weight=3.0)]

    def value(losses: list[LossBlock], label_weight: float) -> float:
        with imitating(
            student.module,
            trained.module,
            losses,
            labels=lambda _, outputs, labels: nn.functional.cross_entropy(outputs, labels),
            label_weight=label_weight,
            shape=trained.input.shape,
        ) as imitation:
            found = imitation.objective(images, student.module(images), labels)
        return float(found.detach())

    parts = [value([block], 0.0) for block in blocks]
    with torch.no_grad():
        cross_entropy = float(nn.functional.cross_entropy(student.module(images), labels))
    whole = value(blocks, 0.7)
    assert whole == pytest.approx(parts[0] + parts[1] + 0.7 * cross_entropy, rel=1e-5)
    halved = value([blocks[0].model_copy(update={"weight": 0.25})], 0.0)
    assert halved == pytest.approx(parts[0] / 2, rel=1e-6)


def test_mixed_labels_are_taken_by_their_larger_share(trained: Model) -> None:
    student = fresh(trained)
    images = torch.randn(4, *trained.input.shape)
    labels = torch.tensor([0, 1, 2, 3])
    shares = 0.7 * nn.functional.one_hot(labels, 10) + 0.3 / 10
    with watching(student, trained, "dkd") as imitation:
        values = []
        for given in (labels, shares):
            outputs = student.module(images)
            own = nn.functional.cross_entropy(outputs, given)
            values.append(float((imitation.objective(images, outputs, given) - own).detach()))
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_another_architecture_and_its_adapters(trained: Model, digits: Data) -> None:
    """Half the channels and another spatial plan: adapters and pooling bridge both."""

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(1, 8, 3, 2, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(8, 12, 3, 2, 0),
                nn.ReLU(),
            )
            self.head = nn.Linear(12, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x).mean((2, 3)))  # type: ignore[no-any-return]

    student = replace(trained, module=Small())
    names = ("fitnet", "fsp", "vid", "ab", "ft", "ickd", "reviewkd", "nst", "spkd", "padl2", "cckd")
    layers = [{"teacher": "stages.[12]", "student": "body.[13]"}]
    feature = [n for n in names if n not in {"padl2", "cckd"}]
    losses = [{"name": n, "weight": 0.1, "layers": layers} for n in feature]
    losses += [{"name": n, "weight": 0.1} for n in ("padl2", "cckd", "crd", "srrl")]
    found, epochs, notes = distill(student, trained, step(losses=losses), training(digits, 256))
    assert epochs[-1].loss > 0
    assert isinstance(found.module, Small)
    assert notes[0] == "fitnet: stages.1~body.1, stages.2~body.3 (paired by the recipe)"


def test_teachers_that_do_not_fit_are_refused(trained: Model, digits: Data) -> None:
    few = fresh(trained, num_classes=5)
    with pytest.raises(InputError, match="teacher: has 5 outputs, the student has 10"):
        distill(trained, few, step(), training(digits))
    for change, message in (
        ({"shape": (1, 20, 20)}, r"input.shape \(1, 20, 20\), but the data .* \(1, 12, 12\)"),
        ({"mean": (0.5,)}, r"input.mean \(0.5,\), but the data is prepared with \(0.3,\)"),
    ):
        spec = InputSpec.model_validate(trained.input.model_dump() | change)
        other = Model(trained.module, replace(trained.architecture, input=spec))
        with pytest.raises(InputError, match=f"teacher: takes images with {message}"):
            distill(trained, other, step(), training(digits))
        with pytest.raises(InputError, match=f"student: takes images with {message}"):
            distill(other, trained, step(), training(digits))


@pytest.mark.parametrize("name", ["rkd", "spkd", "pkt", "cckd", "crd", "dist", "sskd", "padl2"])
def test_a_loss_of_pairs_needs_a_batch_of_two(name: str, trained: Model, digits: Data) -> None:
    message = f"batch_size: '{name}' compares the samples of a batch, found a batch of 1"
    losses = [{"name": "kd"}, {"name": name}]
    with pytest.raises(InputError, match=message):
        distill(fresh(trained), trained, step(batch_size=1, losses=losses), training(digits))
    with pytest.raises(InputError, match=message):
        distill(fresh(trained), trained, step(losses=losses), training(digits, 1))


def test_the_same_seed_gives_the_same_student(trained: Model, digits: Data) -> None:
    given = step(losses=[{"name": "vid"}, {"name": "crd"}]), training(digits, 128)
    both = [state(distill(fresh(trained), trained, *given)[0].module) for _ in range(2)]
    assert equal(*both)


def test_losses_see_the_batch_in_any_order(trained: Model) -> None:
    """Also after sskd, which looks at rotated images in between."""
    student = fresh(trained)
    images, labels = torch.randn(4, *trained.input.shape), torch.tensor([0, 1, 2, 2])
    found = []
    for names in itertools.permutations(("nst", "rkd", "sskd")):
        torch.manual_seed(0)
        with watching(student, trained, *names) as imitation:
            imitation.extra.requires_grad_(requires_grad=False)
            for parameter in imitation.extra.parameters():
                parameter.fill_(0.01)
            found.append(imitation.objective(images, student.module(images), labels).item())
    assert found == pytest.approx([found[0]] * 6, rel=1e-5)
