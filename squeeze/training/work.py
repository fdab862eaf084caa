"""All state of a training that changes from step to step, and how it is saved and restored."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from squeeze.recipe.schema import TrainSettings
from squeeze.training import checkpoint, device_setup, distributed, schedule
from squeeze.training import optimizer as optimizers
from squeeze.training.augment_boxes import builder_of
from squeeze.training.batches import Loader, Plan
from squeeze.training.ema import Average, load_, tensors_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn, optim
    from torch.amp.grad_scaler import GradScaler

    from squeeze.data.splits import Split
    from squeeze.results import Epoch
    from squeeze.training.inputs import Training
    from squeeze.training.objective import Objective


@dataclass
class Work:
    """A training in progress.

    Attributes:
        forward: The module, or what stands for it (compiled).
        validation: What this process evaluates of it.
        best: Copy of the best model so far, when that is what will be kept.
        history: One entry per finished epoch.
    """

    module: "nn.Module"
    extra: "nn.Module | None"
    forward: "Callable[[Tensor], Tensor]"
    objective: "Objective"
    after_backward: "Callable[[], None] | None"
    optimizer: "optim.Optimizer"
    schedule: "optim.lr_scheduler.LRScheduler"
    scaler: "GradScaler"
    rng: np.random.Generator
    plan: Plan
    loader: Loader
    validation: "Split"
    average: Average | None
    best: "Mapping[str, Tensor] | None" = None
    history: "list[Epoch]" = field(default_factory=list)

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``."""
        return str(next(self.module.parameters()).device.type)


def begin(
    module: "nn.Module",
    settings: TrainSettings,
    training: "Training",
    given: "tuple[Objective, nn.Module | None, Callable[[], None] | None]",
) -> Work:
    """Return the state before the first step, of modules that are on their device.

    Args:
        module: To be trained.
        settings: The recipe's numbers.
        training: Data and seed.
        given: Objective, extra module, and what is called after backward.

    Raises:
        InputError: A pattern of ``lr_scales`` matches nothing.
    """
    import torch

    objective, extra, after_backward = given
    optimizer = optimizers.build(module, settings, extra, training.label)
    rng = np.random.default_rng(training.seed)
    device = str(next(module.parameters()).device.type)
    plan = _plan(settings, training, rng)
    return Work(
        module=module,
        extra=extra,
        forward=torch.compile(module) if settings.compile else module,
        objective=objective,
        after_backward=after_backward,
        optimizer=optimizer,
        schedule=schedule.build(optimizer, settings, -(-len(plan) // settings.accumulate)),
        scaler=device_setup.scaler(settings, device),
        rng=rng,
        plan=plan,
        loader=_loader(plan, settings, training, on_gpu=device == "cuda"),
        validation=_watched(training.validation),
        average=Average(module, settings.ema) if settings.ema else None,
    )


def _plan(settings: TrainSettings, training: "Training", rng: np.random.Generator) -> Plan:
    """Return this process's part of the batches."""
    distributed.check_batch(min(settings.batch_size, len(training.train)), training.label)
    share = (distributed.rank(), distributed.size())
    return Plan(training.train.labels, settings, rng, share=share)


def _loader(plan: Plan, settings: TrainSettings, training: "Training", *, on_gpu: bool) -> Loader:
    """Return what makes the batches; a GPU takes them from pinned memory, made by a thread."""
    builder = builder_of(training.train, settings.augment)
    return Loader(plan, builder, workers=settings.workers, pin=on_gpu, beside=on_gpu)


def _watched(validation: "Split") -> "Split":
    """Return the validation samples that this process evaluates."""
    count = distributed.size()
    if count == 1:
        return validation
    return validation.take(range(distributed.rank(), len(validation), count))


def update_(work: Work, settings: TrainSettings) -> None:
    """Take one optimizer step with the accumulated gradients."""
    from torch.nn.utils import clip_grad_norm_

    trained = [p for group in work.optimizer.param_groups for p in group["params"]]
    distributed.mean_(p.grad for p in trained if p.grad is not None)
    work.scaler.unscale_(work.optimizer)
    if work.after_backward is not None:
        work.after_backward()
    if settings.clip_norm is not None:
        clip_grad_norm_(trained, settings.clip_norm)
    scale = work.scaler.get_scale()
    work.scaler.step(work.optimizer)
    work.scaler.update()
    work.optimizer.zero_grad(set_to_none=True)
    if work.scaler.get_scale() >= scale:  # in fp16 a step whose gradients overflow is left out
        work.schedule.step()
        if work.average is not None:
            work.average.follow()


def agree_(work: Work) -> None:
    """Average what the processes have computed apart: the statistics of BatchNorms."""
    parts = [part for part in (work.module, work.extra) if part is not None]
    distributed.mean_(buffer for part in parts for buffer in part.buffers())
    if work.average is not None:
        names = [name for name, _ in work.module.named_buffers()]
        distributed.mean_(work.average.values[name] for name in names)


def state_of(work: Work, history: list[dict[str, object]]) -> checkpoint.TrainingState:
    """Return all of it as plain data and tensors, between two epochs."""
    optimizer, optimizer_tensors = checkpoint.of_optimizer(work.optimizer)
    random, random_tensors = checkpoint.of_generators(work.rng)
    parts: dict[str, Mapping[str, Tensor]] = {
        "model": tensors_of(work.module),
        "extra": tensors_of(work.extra) if work.extra is not None else {},
        "average": work.average.values if work.average is not None else {},
        "best": work.best or {},
        "optimizer": optimizer_tensors,
        "random": random_tensors,
    }
    plain: checkpoint.PlainState = {
        "history": history,
        "optimizer": optimizer,
        "schedule": work.schedule.state_dict(),
        "scaler": work.scaler.state_dict(),
        "updates": work.average.updates if work.average is not None else 0,
        "random": random,
    }
    tensors = {f"{part}/{n}": t for part, named in parts.items() for n, t in named.items()}
    return checkpoint.TrainingState(plain, tensors)


def restore_(work: Work, state: checkpoint.TrainingState) -> None:
    """Restore what ``state_of`` returned, all but the history."""
    load_(work.module, state.part("model"))
    if work.extra is not None:
        load_(work.extra, state.part("extra"))
    if work.average is not None:
        for name, tensor in state.part("average").items():
            work.average.values[name].copy_(tensor)
        work.average.updates = state.plain["updates"]
    work.best = state.part("best") or None
    checkpoint.load_optimizer_(work.optimizer, state.plain["optimizer"], state.part("optimizer"))
    work.schedule.load_state_dict(state.plain["schedule"])
    work.scaler.load_state_dict(state.plain["scaler"])
    checkpoint.load_generators_(work.rng, state.plain["random"], state.part("random"))
