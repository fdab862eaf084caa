"""The training loop."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from squeeze.core.errors import SqueezeError
from squeeze.core.types import Silent
from squeeze.methods import finetune
from squeeze.recipe.schema import Augment, TrainSettings
from squeeze.sources.data import Data
from squeeze.sources.models import Model
from squeeze.tasks import classification


def training(digits: Data, seed: int = 0) -> finetune.Training:
    assert digits.train is not None
    return finetune.Training(
        digits.train, digits.validation, classification, seed, Silent(), "training"
    )


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 32), nn.ReLU(), nn.Linear(32, 10))


def test_it_learns(trained: Model, digits: Data) -> None:
    assert finetune.evaluate(trained.module, digits.validation, "cpu") > 0.9
    assert not trained.module.training


def test_a_seed_decides_everything(digits: Data) -> None:
    settings = TrainSettings(epochs=2, augment=Augment(flip=True, shift=1))
    states = []
    for seed in (0, 0, 1):
        module = small()
        finetune.train_(module, settings, training(digits, seed))
        states.append(torch.cat([p.detach().flatten() for p in module.parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_a_loss_that_is_nan_stops_and_says_where(digits: Data) -> None:
    module = small()
    with torch.no_grad():
        next(module.parameters()).fill_(float("inf"))
    with pytest.raises(SqueezeError, match="training: the loss became nan in epoch 1, step 1"):
        finetune.train_(module, TrainSettings(epochs=1), training(digits))


def test_an_objective_replaces_the_loss(digits: Data) -> None:
    module = small()
    history = finetune.train_(
        module, TrainSettings(epochs=1), training(digits), lambda _, y, __: (y * 0).sum() + 7.0
    )
    assert history[0].loss == pytest.approx(7.0)


def test_an_extra_module_is_trained_along(digits: Data) -> None:
    module, extra = small(), nn.Linear(10, 10)
    before = extra.weight.detach().clone()
    finetune.train_(
        module,
        TrainSettings(epochs=1),
        training(digits),
        lambda _, outputs, labels: nn.functional.cross_entropy(extra(outputs), labels),
        extra=extra,
    )
    assert not torch.equal(before, extra.weight)
    assert not extra.training


def test_gradients_may_be_changed_before_the_step(digits: Data) -> None:
    module = small()
    before = [p.detach().clone() for p in module.parameters()]

    def stop() -> None:
        for parameter in module.parameters():
            assert parameter.grad is not None
            parameter.grad.zero_()

    settings = TrainSettings(epochs=1, weight_decay=0.0)
    finetune.train_(module, settings, training(digits), after_backward=stop)
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


def test_weight_decay_spares_norms_and_biases() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    decayed, spared = finetune._optimizer(module, TrainSettings(epochs=1)).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (5e-4, 0.0)
    assert [p.ndim for p in decayed["params"]] == [4, 2]
    assert [p.ndim for p in spared["params"]] == [1, 1, 1, 1]


def test_cosine_with_warm_up_has_its_textbook_values() -> None:
    settings = TrainSettings(epochs=10, lr=1.0, warmup_epochs=2.0, weight_decay=0.0)
    optimizer = finetune._optimizer(nn.Linear(1, 1), settings)
    schedule = finetune._schedule(optimizer, settings, per_epoch=1)
    found = []
    for _ in range(10):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    expected = [1 / 3, 2 / 3] + [(1 + math.cos(math.pi * n / 8)) / 2 for n in range(8)]
    assert found == pytest.approx(expected)


def test_augmentation_moves_and_mirrors_but_keeps_pixels(digits: Data) -> None:
    assert digits.train is not None
    chosen = np.arange(64)
    plain, labels = digits.train.batch(chosen)
    rng = np.random.default_rng(0)
    flipped, found = finetune._batch(digits.train, chosen, Augment(flip=True), rng, "cpu")
    assert (found.numpy() == labels).all()
    mirrored = [
        np.array_equal(f, p[:, :, ::-1]) for f, p in zip(flipped.numpy(), plain, strict=True)
    ]
    same = [np.array_equal(f, p) for f, p in zip(flipped.numpy(), plain, strict=True)]
    assert all(m or s for m, s in zip(mirrored, same, strict=True))
    assert 16 < sum(mirrored) < 48
    shifted, _ = finetune._batch(digits.train, chosen, Augment(shift=2), rng, "cpu")
    for moved, image in zip(shifted.numpy(), plain, strict=True):
        padded = np.pad(image[0], 2, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (12, 12))
        assert (windows == moved[0]).all(axis=(2, 3)).any()


def test_training_never_touches_the_validation_set(digits: Data) -> None:
    before = digits.validation.batch(range(10))[0].copy()
    finetune.train_(small(), TrainSettings(epochs=1, augment=Augment(shift=2)), training(digits))
    assert np.array_equal(before, digits.validation.batch(range(10))[0])
