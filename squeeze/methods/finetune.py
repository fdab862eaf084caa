"""The one training loop: baseline training, fine-tuning and distillation all run through it."""

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.errors import SqueezeError
from squeeze.recipe.schema import Augment, TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor, nn, optim

    from squeeze.core.types import Progress
    from squeeze.sources.data import Split
    from squeeze.tasks.base import Task

    Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
    """Images, outputs and labels to a scalar loss."""

_COIN = 0.5


@dataclass(frozen=True)
class Epoch:
    """What one epoch did: mean training loss, top-1 on validation, seconds."""

    loss: float
    top1: float
    seconds: float


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
        SqueezeError: The loss became NaN or infinite.
    """
    import torch
    from torch import nn

    torch.manual_seed(training.seed)
    rng = np.random.default_rng(training.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module.to(device)
    trained = module if extra is None else nn.ModuleList([module, extra.to(device)])
    optimizer = _optimizer(trained, settings)
    per_epoch = max(1, len(training.train) // settings.batch_size)
    schedule = _schedule(optimizer, settings, per_epoch)
    if objective is None:
        objective = _task_loss(training.task, settings)
    history: list[Epoch] = []
    with training.progress.task(training.label, settings.epochs * per_epoch) as advance:
        for number in range(1, settings.epochs + 1):
            started, total = time.perf_counter(), 0.0
            trained.train()
            batches = _batches(training.train, settings, rng, device)
            for step, (images, labels) in enumerate(batches, start=1):
                loss = objective(images, module(images), labels)
                total += _finite(loss, number, step, settings, training.label)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                if after_backward is not None:
                    after_backward()
                optimizer.step()
                schedule.step()
                advance()
            top1 = evaluate(module, training.validation, device)
            history.append(Epoch(total / per_epoch, top1, time.perf_counter() - started))
            advance(0, note=f"top-1 {top1:.1%}")
    trained.to("cpu").eval()
    return history


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


def _task_loss(task: "Task", settings: TrainSettings) -> "Objective":
    def loss(images: "Tensor", outputs: "Tensor", labels: "Tensor") -> "Tensor":
        del images
        return task.loss(outputs, labels, label_smoothing=settings.label_smoothing)

    return loss


def _finite(loss: "Tensor", epoch: int, step: int, settings: TrainSettings, label: str) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise SqueezeError(
            f"the loss became {value} in epoch {epoch}, step {step}",
            where=label,
            hint=f"lower lr (now {settings.lr})",
        )
    return value


def _batches(
    train: "Split", settings: TrainSettings, rng: np.random.Generator, device: str
) -> "Iterator[tuple[Tensor, Tensor]]":
    """Yield an epoch's batches in a new order; the incomplete last one is left out."""
    size, order = settings.batch_size, rng.permutation(len(train))
    for start in range(0, max(1, len(train) - size + 1), size):
        yield _batch(train, order[start : start + size], settings.augment, rng, device)


def _batch(
    split: "Split",
    chosen: "NDArray[np.int64]",
    augment: Augment,
    rng: np.random.Generator,
    device: str,
) -> "tuple[Tensor, Tensor]":
    import torch
    from torch.nn import functional

    array, labels = split.batch(chosen)
    images = torch.from_numpy(array)
    if augment.flip:
        mirrored = torch.from_numpy(rng.random(len(images)) < _COIN)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    if augment.shift:
        pad, (height, width) = augment.shift, images.shape[2:]
        padded = functional.pad(images, (pad, pad, pad, pad), mode="replicate")
        moves = rng.integers(0, 2 * pad + 1, size=(len(images), 2))
        images = torch.stack(
            [
                image[:, y : y + height, x : x + width]
                for image, (y, x) in zip(padded, moves.tolist(), strict=True)
            ]
        )
    return images.to(device), torch.from_numpy(labels).to(device)


def _optimizer(module: "nn.Module", settings: TrainSettings) -> "optim.Optimizer":
    """Weight decay is for matrices and kernels; norms and biases go without."""
    from torch import optim

    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if settings.optimizer == "adamw":
        return optim.AdamW(groups, lr=settings.lr)
    return optim.SGD(
        groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0
    )


def _schedule(
    optimizer: "optim.Optimizer", settings: TrainSettings, per_epoch: int
) -> "optim.lr_scheduler.LRScheduler":
    from torch.optim.lr_scheduler import LambdaLR

    warmup = settings.warmup_epochs * per_epoch
    total = settings.epochs * per_epoch

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if settings.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

    return LambdaLR(optimizer, factor)
