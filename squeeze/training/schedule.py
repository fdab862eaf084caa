"""Learning-rate schedules, as factors of the peak learning rate per optimizer step.

Sources: cosine, https://arxiv.org/abs/1608.03983 (eq. 5, one period down to 0); one cycle,
https://arxiv.org/abs/1708.07120 in the form of ``torch.optim.lr_scheduler.OneCycleLR`` (cosine
branches, momentum left alone); warm-up, https://arxiv.org/abs/1706.02677 (section 2.2).
"""

import math
from typing import TYPE_CHECKING

from squeeze.recipe.schema import TrainSettings

if TYPE_CHECKING:
    from torch import optim

_RISE = 0.3
_START, _END = 1 / 25, 1 / 25 / 1e4


def build(
    optimizer: "optim.Optimizer", settings: TrainSettings, per_epoch: int
) -> "optim.lr_scheduler.LRScheduler":
    """Return the schedule; it takes one ``step()`` per optimizer step.

    Args:
        optimizer: Its groups keep their ratios.
        settings: The recipe's numbers.
        per_epoch: Optimizer steps of an epoch.
    """
    from torch.optim.lr_scheduler import LambdaLR

    return LambdaLR(optimizer, lambda step: factor(step, settings, per_epoch))


def factor(step: int, settings: TrainSettings, per_epoch: int) -> float:
    """Return the learning rate of a step, counted from 0, divided by the peak, in [0, 1]."""
    warmup = settings.warmup_epochs * per_epoch
    total = settings.epochs * per_epoch
    if settings.schedule == "one_cycle":
        return _one_cycle(step, warmup or _RISE * total, total)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if settings.schedule == "constant":
        return 1.0
    if settings.schedule == "step":
        passed = sum(step >= epoch * per_epoch for epoch in settings.milestones)
        return settings.step_factor**passed
    return _between(1.0, 0.0, (step - warmup) / max(1, total - warmup))


def _one_cycle(step: int, rise: float, total: int) -> float:
    top, last = rise - 1, total - 1
    if step <= top:
        return _between(_START, 1.0, step / top if top else 1.0)
    return _between(1.0, _END, min(1.0, (step - top) / max(1.0, last - top)))


def _between(start: float, end: float, share: float) -> float:
    """Go from start to end along half a cosine."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))
