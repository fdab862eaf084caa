"""How much accuracy each group costs when it alone is pruned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.errors import SqueezeError
from squeeze.models.copying import copied
from squeeze.pruning.graph import remove_
from squeeze.pruning.groups import PruningGroups
from squeeze.pruning.ranking import Limits, weakest
from squeeze.recipe.schema import SensitivitySettings

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.core.types import Progress
    from squeeze.data.splits import Split
    from squeeze.tasks.base import Task

RATIOS = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875)


@dataclass(frozen=True)
class Curve:
    """One group's sensitivity.

    Attributes:
        group: Its name.
        channels: Its width.
        points: ``(fraction removed, the task's metric in torch)``, rising, from 0.
    """

    group: str
    channels: int
    points: tuple[tuple[float, float], ...]

    def farthest(self, max_drop: float) -> float:
        """Return the largest fraction before the first point that costs more than ``max_drop``."""
        full = self.points[0][1]
        best = 0.0
        for ratio, top1 in self.points:
            if full - top1 > max_drop + 1e-9:
                break
            best = ratio
        return best


def draw(split: "Split", samples: int, seed: int) -> list[int]:
    """Return positions of at most ``samples`` samples, drawn without replacement, in order."""
    count = min(samples, len(split))
    chosen = np.random.default_rng(seed).choice(len(split), count, replace=False)
    return sorted(int(position) for position in chosen)


def curves(
    found: PruningGroups,
    scores: "Mapping[str, Tensor | None]",
    split: "Split",
    task: "Task",
    progress: "Progress",
    ratios: Sequence[float] = RATIOS,
) -> list[Curve]:
    """Prune each group alone, without any training, and measure the task's metric in torch.

    Args:
        found: The model's groups.
        scores: Per unit; groups without are left out.
        split: What accuracy is measured on.
        task: Measures it.
        progress: Where the bar goes.
        ratios: Fractions of channels to remove.
    """
    split, task = replace(split, keep=True), task.of(found.module)
    full = task.evaluate(found.module, split, "cpu")
    groups = [group for group in found.prunable if scores.get(group.name) is not None]
    limits = Limits(1, max(ratios), {})
    made = []
    with progress.task("sensitivity", len(groups) * len(ratios)) as advance:
        for group in groups:
            score = scores[group.name]
            if score is None:
                continue
            points = {0.0: full}
            for ratio in ratios:
                kept = limits.nearest(group, group.units * (1 - ratio))
                removed = round(1 - kept / group.units, 4)
                if removed not in points:
                    module = copied(found.module)
                    gone = {group.name: weakest(group, score, group.units - kept)}
                    remove_(module, found.groups, gone)
                    points[removed] = task.evaluate(module, split, "cpu")
                advance()
            made.append(Curve(group.name, group.channels, tuple(sorted(points.items()))))
    return made


def ratios(
    found: PruningGroups,
    scores: "Mapping[str, Tensor | None]",
    split: "Split | None",
    task: "Task | None",
    settings: SensitivitySettings,
    progress: "Progress",
) -> dict[str, float]:
    """Return, for every group, the largest fraction that alone costs at most ``max_drop``.

    Raises:
        SqueezeError: There is no data to measure on.
    """
    if split is None or task is None:
        raise SqueezeError("measures accuracy, and the run has no data.train", where="ratios")
    measured = curves(found, scores, split, task, progress)
    return {curve.group: curve.farthest(settings.max_drop) for curve in measured}
