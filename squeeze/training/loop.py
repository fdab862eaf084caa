"""The training loop."""

import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from squeeze.recipe.schema import TrainSettings
from squeeze.results import Epoch
from squeeze.training import device_setup, distributed, parameters
from squeeze.training import objective as objectives
from squeeze.training.batches import workers_watched
from squeeze.training.checkpoint import Checkpoint, shapes
from squeeze.training.ema import load_, tensors_of
from squeeze.training.inputs import Training
from squeeze.training.work import Work, agree_, begin, restore_, state_of, update_

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from squeeze.core.types import Advance
    from squeeze.tasks.base import Labels, Task
    from squeeze.training.objective import Objective

_LOOK_EVERY = 50
"""Batches between two looks at the losses on a GPU: every look waits for the device."""


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
        training: Data, task and seed.
        objective: The loss; the task's own when None.
        extra: Trained along with the model and discarded afterwards, for example the adapters of a
            distillation; the objective calls it.
        after_backward: Called between backward and optimizer step; may change gradients, as the
            regularisers of sparse training do.

    What changes from step to step must live in the two modules (parameters and buffers), so that
    a killed training resumes as if nothing had happened.

    Raises:
        InputError: The settings do not fit the model or the machine.
        SqueezeError: The loss became NaN or infinite.
    """
    where = training.label
    device = device_setup.device_for(settings, where)
    place = training.checkpoints.next() if training.checkpoints is not None else None
    with (
        device_setup.switched(settings, device),
        parameters.frozen(module, settings.freeze, f"{where}, freeze"),
    ):
        loss = objective or objectives.of_task(training.task.of(module), settings)
        _place_([part for part in (module, extra) if part is not None], settings, training, device)
        work = begin(module, settings, training, (loss, extra, after_backward))
        _resume_(work, settings, training, place)
        _epochs(work, settings, training, place)
        kept = _finish_(work)
    if kept != settings.epochs:
        training.progress.say(
            f"{where}: {len(work.history)} of {settings.epochs} epochs, epoch {kept} is kept"
        )
    return work.history


def _place_(
    modules: "list[nn.Module]", settings: TrainSettings, training: Training, device: str
) -> None:
    """Move the modules to the device, equal in all processes; the first is the model."""
    import torch

    torch.manual_seed(training.seed + distributed.rank())
    for module in modules:
        module.to(device)
    distributed.start_alike_(modules, training.label)
    if settings.channels_last:
        modules[0].to(memory_format=torch.channels_last)


def _epochs(
    work: Work, settings: TrainSettings, training: Training, place: Checkpoint | None
) -> None:
    """Train the epochs that are left, or until validation stops improving."""
    batches = len(work.plan)
    with (
        workers_watched(work.loader, training.label),
        training.progress.task(training.label, settings.epochs * batches) as advance,
    ):
        advance(len(work.history) * batches)
        while len(work.history) < settings.epochs and not _stalled(work.history, settings):
            _epoch(work, settings, training, (advance, place))


def _resume_(
    work: Work, settings: TrainSettings, training: Training, place: Checkpoint | None
) -> None:
    """Restore the last checkpoint of this very training, if there is one."""
    import torch

    shape = _shape(work, settings, training)
    found = distributed.from_first(
        lambda: None if place is None else place.load(shape, training.progress.warn)
    )
    if found is not None:
        restore_(work, found)
        if distributed.rank():  # the checkpoint has the first process's generators
            torch.manual_seed(training.seed + distributed.rank())
        work.history = TypeAdapter(list[Epoch]).validate_python(found.plain["history"])
        training.progress.say(
            f"{training.label}: resumes after epoch {len(work.history)} of {settings.epochs}"
        )


def _shape(work: Work, settings: TrainSettings, training: Training) -> list[object]:
    """Return what a checkpoint must agree on with the training that uses it."""
    modules = [shapes(work.module), shapes(work.extra)]
    return [settings.model_dump(), training.seed, training.train.fingerprint, modules]


def _epoch(
    work: Work,
    settings: TrainSettings,
    training: Training,
    out: "tuple[Advance, Checkpoint | None]",
) -> None:
    """Train an epoch, evaluate, record both, and save a checkpoint."""
    advance, place = out
    started, waited_s = time.perf_counter(), work.loader.waited_s
    parameters.train_mode_(work.module, settings.freeze)
    if work.extra is not None:
        work.extra.train()
    mean = _steps(work, settings, training, out)
    agree_(work)
    seconds = time.perf_counter() - started
    images = len(work.plan) * min(settings.batch_size, len(training.train))
    rate, wait = images / seconds, (work.loader.waited_s - waited_s) / seconds
    with work.average.in_place() if work.average is not None else nullcontext():
        score = _score(work, training.task)
        if settings.keep == "best" and score > max((e.score for e in work.history), default=-1.0):
            work.best = {name: t.clone() for name, t in tensors_of(work.module).items()}
    work.history.append(Epoch(mean, score, time.perf_counter() - started, rate, wait))
    epoch = f"epoch {len(work.history)} of {settings.epochs}: loss {mean:.3g}"
    note = f"{epoch}, {training.task.METRIC} {score:.1%}, {rate:,.0f} images/s"
    advance(0, note=f"{note}, {wait:.0%} waiting for data")
    if place is not None and distributed.rank() == 0:
        history = [asdict(epoch) for epoch in work.history]
        place.save(state_of(work, history), _shape(work, settings, training))


def _steps(
    work: Work,
    settings: TrainSettings,
    training: Training,
    out: "tuple[Advance, Checkpoint | None]",
) -> float:
    """Go through the batches of an epoch; return the mean loss."""
    import torch

    number, count, device = len(work.history) + 1, len(work.plan), work.device
    look_every = 1 if device == "cpu" else _LOOK_EVERY
    losses: list[float] = []
    unseen: list[Tensor] = []
    work.optimizer.zero_grad(set_to_none=True)
    for step, batch in enumerate(work.loader.epoch(), start=1):
        images, labels = _to(device, batch, settings)
        group = _group_size(step, count, settings.accumulate)
        with device_setup.autocast(settings, device):
            outputs = objectives.run(work.forward, images, training.label)
            loss = work.objective(images, outputs, labels)
        unseen.append(loss.detach())
        if len(unseen) == look_every or step == count:
            together = torch.stack(unseen).float()
            distributed.mean_([together])
            seen, unseen = together.tolist(), []
            objectives.check_finite(
                seen,
                epoch=number,
                first=len(losses) + 1,
                where=training.label,
                hint=_hint(settings, number, out[1]),
            )
            losses += seen
        work.scaler.scale(loss if group == 1 else loss / group).backward()  # type: ignore[no-untyped-call]
        if step % settings.accumulate == 0 or step == count:
            update_(work, settings)
        out[0]()
    return sum(losses) / count


def _hint(settings: TrainSettings, epoch: int, place: Checkpoint | None) -> str:
    text = f"lower lr (now {settings.lr})"
    if place is None or epoch == 1:
        return f"{text}; no epoch was finished" if epoch == 1 else text
    return f"{text}; the last good checkpoint, after epoch {epoch - 1}, is {place.path}"


def _group_size(step: int, count: int, accumulate: int) -> int:
    """Return over how many batches the optimizer step averages to which this batch belongs."""
    return min(accumulate, count - (step - 1) // accumulate * accumulate)


def _to(
    device: str, batch: "tuple[Tensor, Labels]", settings: TrainSettings
) -> "tuple[Tensor, Labels]":
    import torch

    layout = torch.channels_last if settings.channels_last else torch.preserve_format
    images, labels = batch
    if torch.is_tensor(labels):  # boxes are small and unequal: the loss moves what it needs
        labels = labels.to(device, non_blocking=True)
    return images.to(device, memory_format=layout, non_blocking=True), labels


def _stalled(history: list[Epoch], settings: TrainSettings) -> bool:
    """Tell whether validation has not improved for ``patience`` epochs."""
    if settings.patience is None or not history:
        return False
    return len(history) - 1 - _best(history) >= settings.patience


def _best(history: list[Epoch]) -> int:
    """Return the first of the epochs with the best score, counted from 0."""
    return max(range(len(history)), key=lambda number: (history[number].score, -number))


def _score(work: Work, task: "Task") -> float:
    """Return the metric on validation: with several processes the mean over their shares."""
    import torch

    count = len(work.validation)
    reader = task.of(work.module)
    score = reader.evaluate(work.module, work.validation, work.device) if count else 0.0
    if distributed.size() == 1:
        return score
    hits = torch.tensor([score * count, count], dtype=torch.float64)
    distributed.mean_([hits])
    return float(hits[0] / hits[1])


def _finish_(work: Work) -> int:
    """Load the weights to keep, in eval mode on the CPU; return their epoch, from 1."""
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
    return kept + 1
