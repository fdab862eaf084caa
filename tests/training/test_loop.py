"""The training loop."""

from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from squeeze.core.errors import InputError, SqueezeError
from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.models.types import Model
from squeeze.recipe.schema import Augment, TrainSettings
from squeeze.tasks.classification import task as classification
from squeeze.training import inputs, loop
from squeeze.training.ema import tensors_of


class Narration(Silent):
    """Keeps all lines."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def say(self, text: str) -> None:
        self.lines.append(text)


def training(digits: Data, seed: int = 0) -> inputs.Training:
    assert digits.train is not None
    return inputs.Training(
        digits.train, digits.validation, classification, seed, Silent(), "training"
    )


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 32), nn.ReLU(), nn.Linear(32, 10))


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )


def flat(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_it_learns(trained: Model, digits: Data) -> None:
    assert classification.evaluate(trained.module, digits.validation, "cpu") > 0.9
    assert not trained.module.training


def test_a_seed_decides_everything(digits: Data) -> None:
    augment = Augment(flip=True, shift=1, color_jitter=0.2, mixup=0.2, cutmix=1.0)
    settings = TrainSettings(epochs=2, augment=augment)
    states = []
    for seed in (0, 0, 1):
        module = small()
        loop.train_(module, settings, training(digits, seed))
        states.append(flat(module))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_a_hand_written_loop_gives_the_same_weights(digits: Data) -> None:
    """The textbook loop, with the order of the samples drawn as the loop does."""
    settings = TrainSettings(epochs=3, lr=0.1, batch_size=32, weight_decay=0.0)
    module, reference = small(), small()
    loop.train_(module, settings, training(digits))
    assert digits.train is not None
    rng, count = np.random.default_rng(0), len(digits.train)
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3 * (count // 32))
    for _ in range(3):
        order = rng.permutation(count)
        for start in range(0, count - 31, 32):
            images, labels = digits.train.batch(order[start : start + 32])
            loss = nn.functional.cross_entropy(
                reference(torch.from_numpy(images)), torch.from_numpy(labels)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            cosine.step()
    assert torch.allclose(flat(module), flat(reference), atol=1e-5)


def test_a_loss_that_is_nan_stops_and_says_where(digits: Data) -> None:
    module = small()
    with torch.no_grad():
        next(module.parameters()).fill_(float("inf"))
    with pytest.raises(SqueezeError, match="training: the loss became nan in epoch 1, step 1"):
        loop.train_(module, TrainSettings(epochs=1), training(digits))


def test_an_objective_replaces_the_loss(digits: Data) -> None:
    history = loop.train_(
        small(), TrainSettings(epochs=1), training(digits), lambda _, y, __: (y * 0).sum() + 7.0
    )
    assert history[0].loss == pytest.approx(7.0)


def test_an_extra_module_is_trained_along(digits: Data) -> None:
    module, extra = small(), nn.Linear(10, 10)
    before = extra.weight.detach().clone()
    loop.train_(
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
    before, calls = flat(module), []

    def stop() -> None:
        calls.append(1)
        for parameter in module.parameters():
            assert parameter.grad is not None
            parameter.grad.zero_()

    settings = TrainSettings(epochs=1, weight_decay=0.0, accumulate=2)
    loop.train_(module, settings, training(digits), after_backward=stop)
    assert torch.equal(before, flat(module))
    assert len(calls) == 10  # 1257 samples are 19 batches of 64


def test_accumulated_batches_make_the_step_of_a_large_one(digits: Data) -> None:
    states = []
    for batch_size, accumulate in ((128, 1), (32, 4)):
        module = small()
        settings = TrainSettings(epochs=1, batch_size=batch_size, accumulate=accumulate)
        assert digits.train is not None
        some = replace(training(digits), train=digits.train.take(range(512)))
        loop.train_(module, settings, some)
        states.append(flat(module))
    assert torch.allclose(*states, atol=1e-5)


def test_gradients_are_clipped(digits: Data) -> None:
    module = small()
    before = flat(module)
    assert digits.train is not None
    one_step = replace(training(digits), train=digits.train.take(range(64)))
    settings = TrainSettings(epochs=1, lr=1.0, momentum=0.0, weight_decay=0.0, clip_norm=1e-3)
    loop.train_(module, settings, one_step)
    assert (flat(module) - before).norm() == pytest.approx(1e-3, rel=1e-3)


def test_frozen_layers_and_their_statistics_stay(digits: Data) -> None:
    module = convolutional()
    before = {name: tensor.clone() for name, tensor in tensors_of(module).items()}
    loop.train_(module, TrainSettings(epochs=1, freeze=("0", "1")), training(digits))
    changed = {n for n, t in tensors_of(module).items() if not torch.equal(t, before[n])}
    assert changed == {"5.weight", "5.bias"}
    assert all(p.requires_grad for p in module.parameters())


def test_the_average_is_what_is_left(digits: Data) -> None:
    """Against the recursion written out, on the weights after every step."""
    module, seen = small(), []
    settings = TrainSettings(epochs=1, batch_size=256, ema=0.9)
    loop.train_(
        module, settings, training(digits), after_backward=lambda: seen.append(flat(module))
    )
    plain = small()
    loop.train_(plain, settings.model_copy(update={"ema": None}), training(digits))
    expected = seen[0].clone()
    for step, weights in enumerate([*seen[1:], flat(plain)]):
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weights
    assert torch.allclose(flat(module), expected, atol=1e-6)
    assert not torch.allclose(flat(plain), expected, atol=1e-5)


def test_the_best_epoch_is_kept_and_training_stops_early(digits: Data) -> None:
    module = small()
    # a learning rate that ruins the model after the first steps
    settings = TrainSettings(
        epochs=9, lr=0.05, schedule="constant", keep="best", patience=2, batch_size=32
    )
    calls, weights = [], []

    def objective(images: torch.Tensor, outputs: torch.Tensor, labels: torch.Tensor) -> object:
        del images
        calls.append(1)
        sign = 1 if len(calls) <= 2 * (1257 // 32) else -0.1
        if len(calls) == 2 * (1257 // 32) + 1:
            weights.append(flat(module))
        return sign * nn.functional.cross_entropy(outputs, labels)

    lines: list[str] = []
    narrated = replace(training(digits), progress=Narration(lines))
    history = loop.train_(module, settings, narrated, objective)  # type: ignore[arg-type]
    assert [epoch.kept for epoch in history] == [False, True, False, False]
    assert lines == ["training: 4 of 9 epochs, epoch 2 is kept"]
    assert torch.equal(flat(module), weights[0])


def test_bf16_and_channels_last_learn_on_the_cpu(digits: Data) -> None:
    module = convolutional()
    settings = TrainSettings(epochs=2, lr=0.2, precision="bf16", channels_last=True)
    history = loop.train_(module, settings, training(digits))
    assert history[1].loss < history[0].loss < 2.4
    assert module[0].weight.dtype == torch.float32
    assert module[0].weight.is_contiguous()


def test_fp16_needs_a_gpu(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"training, precision: fp16 needs a GPU"):
        loop.train_(small(), TrainSettings(epochs=1, precision="fp16"), training(digits))


def test_torchs_switches_are_put_back(digits: Data) -> None:
    loop.train_(small(), TrainSettings(epochs=1, deterministic=True), training(digits))
    assert not torch.are_deterministic_algorithms_enabled()


def test_one_value_per_batchnorm_channel_is_explained(digits: Data) -> None:
    module = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(1, 10)
    )
    with pytest.raises(InputError, match="one value per channel in a batch of 1, and"):
        loop.train_(module, TrainSettings(epochs=1, batch_size=1), training(digits))


@pytest.mark.slow
def test_a_compiled_model_learns_the_same(digits: Data) -> None:
    states = []
    for compiled in (False, True):
        module = convolutional()
        loop.train_(module, TrainSettings(epochs=1, compile=compiled), training(digits))
        states.append(flat(module))
    assert torch.allclose(*states, atol=1e-3)


def test_training_never_touches_the_validation_set(digits: Data) -> None:
    before = digits.validation.batch(range(10))[0].copy()
    loop.train_(small(), TrainSettings(epochs=1, augment=Augment(shift=2)), training(digits))
    assert np.array_equal(before, digits.validation.batch(range(10))[0])


def test_a_worker_that_is_killed_ends_the_training_with_a_sentence(digits: Data) -> None:
    module, calls = small(), []

    def objective(images: torch.Tensor, outputs: torch.Tensor, labels: torch.Tensor) -> object:
        del images
        calls.append(1)
        if len(calls) == 2:
            (worker,) = psutil.Process().children()
            worker.kill()
        return nn.functional.cross_entropy(outputs, labels)

    settings = TrainSettings(epochs=50, workers=1)
    with pytest.raises(SqueezeError, match="a data loader worker died") as raised:
        loop.train_(module, settings, training(digits), objective)  # type: ignore[arg-type]
    assert raised.value.where is not None
    assert raised.value.where.endswith(", workers")
    assert "lower workers or batch_size" in str(raised.value)
