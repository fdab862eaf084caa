"""The teacher's outputs are cached where an epoch shows images of earlier ones again."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.distillation.step import distill
from squeeze.distillation.teacher_cache import TeacherCache, repeat
from squeeze.models.types import Model
from squeeze.recipe.schema import DistillStep
from squeeze.tasks.classification import task as classification
from squeeze.training.inputs import Training


def step(**changes: object) -> DistillStep:
    return DistillStep.model_validate({"epochs": 3, "lr": 0.01, "teacher": "baseline"} | changes)


def images(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed))


def doubled(calls: list[int]) -> Callable[[Tensor], dict[str, Tensor]]:
    def compute(batch: Tensor) -> dict[str, Tensor]:
        calls.append(len(batch))
        return {"logits": 2 * batch.flatten(1)}

    return compute


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"augment": {"flip": True}}, True),
        ({"augment": {"shift": 2}}, False),
        ({"augment": {"rand_augment": 9}}, False),
        ({"augment": {"mixup": 0.2}}, False),
        ({"deterministic": True}, False),
        ({"epochs": 1}, False),
    ],
)
def test_only_images_that_come_again_are_worth_keeping(
    changes: dict[str, object], *, expected: bool
) -> None:
    assert repeat(step(**changes)) is expected


def test_an_image_is_known_again_wherever_it_stands() -> None:
    cache, calls = TeacherCache(), list[int]()
    compute = doubled(calls)
    batch = images(6)
    cache.take(batch, compute)
    mixed = torch.cat([batch[4:], images(2, seed=1), batch[:1]])
    found = cache.take(mixed, compute)["logits"]
    assert torch.equal(found, 2 * mixed.flatten(1))
    assert calls == [6, 2]
    assert (cache.misses, cache.hits) == (8, 3)


def test_the_smallest_change_makes_another_image() -> None:
    cache, calls = TeacherCache(), list[int]()
    compute = doubled(calls)
    batch = images(2)
    cache.take(batch, compute)
    changed = batch.clone()
    changed[0, 0, 0, 0] = torch.nextafter(changed[0, 0, 0, 0], torch.tensor(9.0))
    assert torch.equal(cache.take(changed, compute)["logits"], 2 * changed.flatten(1))
    assert calls == [2, 1]
    cache.take(batch.flip(3), compute)
    assert calls == [2, 1, 2]


def test_what_does_not_fit_is_asked_again() -> None:
    cache, calls = TeacherCache(limit=4 * 16 * 4), list[int]()
    compute = doubled(calls)
    for _ in range(2):
        for seed in (0, 1):
            cache.take(images(4, seed), compute)
    assert calls == [4, 4, 4]


def test_rows_that_are_no_images_are_not_kept() -> None:
    cache, calls = TeacherCache(), list[int]()

    def compute(batch: Tensor) -> dict[str, Tensor]:
        calls.append(len(batch))
        return {"logits": batch.flatten(1), "outputs/windows": batch.repeat(4, 1, 1, 1)}

    for _ in range(2):
        assert len(cache.take(images(3), compute)["outputs/windows"]) == 12
    assert calls == [3, 3]


@pytest.mark.parametrize("loss", ["kd", "at"])
def test_the_student_learns_the_same(
    trained: Model, digits: Data, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    assert digits.train is not None
    few = digits.train.take(range(256))
    training = Training(few, digits.validation, classification, 0, Silent(), "distilling")
    plan = step(losses=[{"name": loss}], augment={"flip": True})
    kept, _, notes = distill(trained, trained, plan, training)
    monkeypatch.setattr("squeeze.distillation.step.repeat", lambda _: False)
    anew, _, silent = distill(trained, trained, plan, training)
    for name, tensor in anew.module.state_dict().items():
        assert torch.allclose(kept.module.state_dict()[name].float(), tensor.float(), atol=1e-4)
    # three epochs of mirrored and plain images: of 768 passes at most 512 are new
    assert any("teacher outputs cached" in note for note in notes)
    assert not any("cached" in note for note in silent)
