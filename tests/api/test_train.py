"""Train and distill modules from Python."""

from typing import Any

import pytest
import torch
from torch import nn

import squeeze
from squeeze import InputError


def test_training_leaves_the_given_module_and_returns_a_better_one(
    known: Any, mine: nn.Module
) -> None:
    for part in mine.modules():
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.weight)
    mine.train()
    before = {name: tensor.clone() for name, tensor in mine.state_dict().items()}
    done = squeeze.train(
        mine, known.train, validation=known.validation, epochs=2, settings={"keep": "best"}
    )
    assert all(torch.equal(mine.state_dict()[name], tensor) for name, tensor in before.items())
    assert mine.training
    assert not done.model.training
    assert [epoch.score > 0.5 for epoch in done.epochs] == [True, True]
    best = max(epoch.score for epoch in done.epochs)
    assert squeeze.evaluate(done, known.validation).accuracy.top1.value == pytest.approx(best)
    assert len(done.to_dict()["epochs"]) == 2
    assert "<td>2</td>" in done._repr_html_()


def test_the_batch_size_is_the_loaders(known: Any) -> None:
    rates = []

    class Noted:
        def task(self, description: str, total: int) -> Any:
            rates.append((description, total))
            return squeeze_silent.task(description, total)

        def say(self, text: str) -> None: ...

        def warn(self, text: str) -> None: ...

    from squeeze.core.types import Silent

    squeeze_silent = Silent()
    for settings in (None, {"batch_size": 128}):
        squeeze.train(
            known.model,
            known.train,
            validation=known.validation,
            epochs=1,
            settings=settings,
            progress=Noted(),
        )
    assert rates == [("training", 1257 // 64), ("training", 1257 // 128)]


def test_a_student_imitates(known: Any) -> None:
    smaller = squeeze.prune(known.model, data=known.train, pruning_ratio=0.5)
    done = squeeze.distill(
        smaller,
        known.model,
        known.train,
        validation=known.validation,
        epochs=2,
        losses=["kd", {"name": "at", "weight": 1.0}],
    )
    assert done.epochs[-1].score > 0.8
    assert done.source.architecture.pruning == smaller.source.architecture.pruning
    assert any("at" in note for note in done.notes)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"epochs": 0}, "epochs: found 0, allowed: greater than or equal to 1"),
        ({"losses": ["kk"]}, "unknown loss 'kk'"),
        ({"losses": "kd"}, "found 'kd', expected a list of losses"),
        ({"settings": {"teacher": "baseline"}}, "teacher is an argument of its own"),
        ({"validation": None}, "validation: is needed and was not given"),
    ],
)
def test_wrong_use(known: Any, arguments: dict[str, Any], what: str) -> None:
    given: dict[str, Any] = {"validation": known.validation, "epochs": 1} | arguments
    with pytest.raises(InputError) as caught:
        squeeze.distill(known.model, known.model, known.train, **given)
    assert what in str(caught.value)


def test_sets_that_share_samples(known: Any) -> None:
    with pytest.raises(InputError, match=r"540 samples are also in data\.validation"):
        squeeze.train(known.model, known.validation, validation=known.validation, epochs=1)


def test_a_teacher_in_training_mode_or_of_other_classes(known: Any, mine: nn.Module) -> None:
    arguments = {"validation": known.validation, "epochs": 1}
    with pytest.raises(InputError, match="teacher: is in training mode"):
        squeeze.distill(known.model, mine.train(), known.train, **arguments)
    other = nn.Sequential(nn.Flatten(), nn.Linear(144, 4)).eval()
    with pytest.raises(InputError, match="has 4 outputs, the student has 10"):
        squeeze.distill(known.model, other, known.train, **arguments)
