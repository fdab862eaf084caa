"""The training loop."""

import time
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from squeeze.methods.training import objective as objectives
from squeeze.methods.training import optimizer as optimizers
from squeeze.methods.training import parameters, schedule, surroundings
from squeeze.methods.training.augment import BatchMaker
from squeeze.methods.training.batches import Plan, epoch_of
from squeeze.methods.training.ema import Average, load_, tensors_of
from squeeze.recipe.schema import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn, optim
    from torch.amp.grad_scaler import GradScaler

    from squeeze.core.types import Advance, Progress
    from squeeze.methods.training.objective import Objective
    from squeeze.sources.data import Split
    from squeeze.tasks.base import Task

_LOOK_EVERY = 50
"""Batches between two looks at the losses on a GPU: every look waits for the device."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch did.

    Attributes:
        loss: Mean training loss.
        top1: On validation, [0, 1].
        seconds: Training and validation together.
        kept: Whether the model left behind is the one of this epoch.
    """

    loss: float
    top1: float
    seconds: float
    kept: bool = False


@dataclass(frozen=True)
class Training:
    """What a training run is given besides the model and its settings.

    Attributes:
        train: Samples to learn from.
        validation: Watched after every epoch; never learned from.
        task: Loss and predictions.
        seed: Order of samples and augmentation.
        progress: Where the bar goes.
        label: The bar's text.
    """

    train: "Split"
    validation: "Split"
    task: "Task"
    seed: int
    progress: "Progress"
    label: str


@dataclass
class _Work:
    """Everything that changes from step to step."""

    module: "nn.Module"
    extra: "nn.Module | None"
    forward: "Callable[[Tensor], Tensor]"
    objective: "Objective"
    after_backward: "Callable[[], None] | None"
    optimizer: "optim.Optimizer"
    schedule: "optim.lr_scheduler.LRScheduler"
    scaler: "GradScaler"
    plan: Plan
    average: Average | None
    best: "Mapping[str, Tensor] | None" = None
    history: list[Epoch] = field(default_factory=list)


def train_(
    module: "nn.Module",
    settings: TrainSettings,
    training: Training,
    objective: "Objective | None" = None,
    *,
    extra: "nn.Module | None" = None,
    after_backward: "Callable[[], None] | None" = None,
) -> list[Epoch]:
    """Train a model in place and leave it in eval mode on the CPU.

    Args:
        module: Trained in place.
        settings: The recipe's numbers.
        training: Data and surroundings.
        objective: The loss; the task's own when None.
        extra: Trained along with the model and of no use afterwards, for example the adapters of
            a distillation; the objective calls it.
        after_backward: Called between backward and optimizer step; may change gradients, as the
            regularisers of sparse training do.

    Raises:
        InputError: The settings do not fit the model or the machine.
        SqueezeError: The loss became NaN or infinite.
    """
    import torch

    where = training.label
    device = surroundings.device_for(settings, where)
    with (
        surroundings.switched(settings, device),
        parameters.frozen(module, settings.freeze, f"{where}.freeze"),
    ):
        torch.manual_seed(training.seed)
        for part in (module, extra):
            if part is not None:
                part.to(device)
        if settings.channels_last:
            module.to(memory_format=torch.channels_last)
        loss = objective or objectives.of_task(training.task, settings)
        work = _begin(module, settings, training, (loss, extra, after_backward))
        total = settings.epochs * len(work.plan)
        with training.progress.task(training.label, total) as advance:
            while len(work.history) < settings.epochs and not _tired(work.history, settings):
                _epoch(work, settings, training, advance)
        _leave(work)
    return work.history


def _begin(
    module: "nn.Module",
    settings: TrainSettings,
    training: Training,
    given: "tuple[Objective, nn.Module | None, Callable[[], None] | None]",
) -> _Work:
    import torch

    loss, extra, after_backward = given
    device = str(next(module.parameters()).device.type)
    optimizer = optimizers.build(module, settings, extra, training.label)
    plan = Plan(training.train.labels, settings, np.random.default_rng(training.seed))
    return _Work(
        module=module,
        extra=extra,
        forward=torch.compile(module) if settings.compile else module,
        objective=loss,
        after_backward=after_backward,
        optimizer=optimizer,
        schedule=schedule.build(optimizer, settings, -(-len(plan) // settings.accumulate)),
        scaler=surroundings.scaler(settings, device),
        plan=plan,
        average=Average(module, settings.ema) if settings.ema else None,
    )


def _epoch(work: _Work, settings: TrainSettings, training: Training, advance: "Advance") -> None:
    """Train an epoch, look at validation, and book both."""
    started = time.perf_counter()
    parameters.train_mode_(work.module, settings.freeze)
    if work.extra is not None:
        work.extra.train()
    mean = _steps(work, settings, training, advance)
    device = next(work.module.parameters()).device.type
    with work.average.in_place() if work.average is not None else nullcontext():
        top1 = evaluate(work.module, training.validation, device)
        if settings.keep == "best" and top1 > max((e.top1 for e in work.history), default=-1.0):
            work.best = {name: t.clone() for name, t in tensors_of(work.module).items()}
    work.history.append(Epoch(mean, top1, time.perf_counter() - started))
    advance(0, note=f"top-1 {top1:.1%}")


def _steps(work: _Work, settings: TrainSettings, training: Training, advance: "Advance") -> float:
    """Go through the batches of an epoch; return the mean loss."""
    import torch

    number, count = len(work.history) + 1, len(work.plan)
    device = next(work.module.parameters()).device.type
    look_every = 1 if device == "cpu" else _LOOK_EVERY
    losses: list[float] = []
    unseen: list[Tensor] = []
    work.optimizer.zero_grad(set_to_none=True)
    batches = epoch_of(work.plan, BatchMaker(training.train, settings.augment))
    for step, batch in enumerate(batches, start=1):
        images, labels = _to(device, batch, settings)
        group = _group_size(step, count, settings.accumulate)
        with surroundings.autocast(settings, device):
            outputs = objectives.run(work.forward, images, training.label)
            loss = work.objective(images, outputs, labels)
        unseen.append(loss.detach())
        if len(unseen) == look_every or step == count:
            losses += torch.stack(unseen).tolist()
            unseen = []
            objectives.check_finite(losses, number, settings, training.label)
        work.scaler.scale(loss if group == 1 else loss / group).backward()  # type: ignore[no-untyped-call]
        if step % settings.accumulate == 0 or step == count:
            _update(work, settings)
        advance()
    return sum(losses) / count


def _group_size(step: int, count: int, accumulate: int) -> int:
    """Return over how many batches the optimizer step averages to which this batch belongs."""
    return min(accumulate, count - (step - 1) // accumulate * accumulate)


def _to(
    device: str, batch: "tuple[Tensor, Tensor]", settings: TrainSettings
) -> "tuple[Tensor, Tensor]":
    import torch

    layout = torch.channels_last if settings.channels_last else torch.preserve_format
    images, labels = batch
    return (
        images.to(device, memory_format=layout, non_blocking=True),
        labels.to(device, non_blocking=True),
    )


def _update(work: _Work, settings: TrainSettings) -> None:
    """Take one optimizer step with the gradients that have gathered."""
    from torch.nn.utils import clip_grad_norm_

    work.scaler.unscale_(work.optimizer)
    if work.after_backward is not None:
        work.after_backward()
    if settings.clip_norm is not None:
        clip_grad_norm_(
            [p for group in work.optimizer.param_groups for p in group["params"]],
            settings.clip_norm,
        )
    scale = work.scaler.get_scale()
    work.scaler.step(work.optimizer)
    work.scaler.update()
    work.optimizer.zero_grad(set_to_none=True)
    if work.scaler.get_scale() >= scale:  # in fp16 a step whose gradients overflow is left out
        work.schedule.step()
        if work.average is not None:
            work.average.follow()


def _tired(history: list[Epoch], settings: TrainSettings) -> bool:
    """Tell whether validation has not become better for ``patience`` epochs."""
    if settings.patience is None or not history:
        return False
    return len(history) - 1 - _best(history) >= settings.patience


def _best(history: list[Epoch]) -> int:
    """Return the first of the epochs with the best top-1, counted from 0."""
    return max(range(len(history)), key=lambda number: (history[number].top1, -number))


def _leave(work: _Work) -> None:
    """Leave the model that is to be kept, in eval mode on the CPU, as it is saved."""
    import torch

    kept = len(work.history) - 1
    if work.best is not None:
        load_(work.module, work.best)
        kept = _best(work.history)
    elif work.average is not None:
        load_(work.module, work.average.values)
    work.history[kept] = replace(work.history[kept], kept=True)
    work.module.to(memory_format=torch.contiguous_format)
    for part in (work.module, work.extra):
        if part is not None:
            part.to("cpu").eval()


def evaluate(module: "nn.Module", split: "Split", device: str) -> float:
    """Return top-1 in [0, 1] in torch: a hint while training, never the reported figure."""
    import torch

    module.eval()
    hits = 0
    with torch.inference_mode():
        for images, labels in split.batches(128):
            outputs = module(torch.from_numpy(images).to(device)).argmax(1).cpu().numpy()
            hits += int((outputs == labels).sum())
    return hits / len(split)
