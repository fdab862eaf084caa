"""The accuracy that is left when one group of channels alone is pruned."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from squeeze.core.errors import InputError, SqueezeError
from squeeze.pruning import sensitivity, step
from squeeze.recipe.schema import PruneStep
from squeeze.tasks import open_task

if TYPE_CHECKING:
    from squeeze.api.data import GivenData
    from squeeze.core.types import Progress
    from squeeze.data.splits import Split
    from squeeze.models.types import Model
    from squeeze.pruning.groups import PruningGroups
    from squeeze.pruning.sensitivity import Curve

_RATIO = 0.5
"""Any will do: groups are scored, and none is pruned by it."""


@dataclass(frozen=True)
class GroupSensitivities:
    """How accuracy falls with the fraction that is removed of each group.

    Attributes:
        metric: In torch, such as ``top-1``.
        curves: Of every group that can be pruned.
    """

    metric: str
    curves: "list[Curve]"

    def to_dict(self) -> dict[str, object]:
        """Return plain data."""
        rows = [{"group": c.group, "channels": c.channels, "points": c.points} for c in self.curves]
        return {"metric": self.metric, "sensitivity": rows}


@dataclass(frozen=True)
class SensitivityRequest:
    """How sensitivities are measured.

    Attributes:
        importance: The criterion by which channels go.
        samples: Use so many of the images.
        task: What the data has to be labelled for; None takes either.
    """

    importance: str
    samples: int
    task: str | None = None


def group_sensitivities(
    model: "Model",
    groups: "PruningGroups",
    data: "GivenData",
    request: SensitivityRequest,
    progress: "Progress",
) -> GroupSensitivities:
    """Measure the accuracy with each group pruned alone, at several ratios.

    Args:
        model: The model that the groups were found in.
        groups: Its groups.
        data: Labelled images.
        request: How it is measured.
        progress: Where progress goes.

    Raises:
        InputError: The data does not fit the model.
        SqueezeError: No group can be pruned and scored.
    """
    split = data.split(model.input, None, progress, names=model.architecture.classes)
    task = open_task(_task_name(split, request.task), model.input)
    task.check_model(groups.module, model.input, len(split.samples.classes))
    context = step.PruneContext(0, split, task.of(groups.module), progress)
    wanted = PruneStep(pruning_ratio=_RATIO, importance=request.importance, samples=request.samples)
    scores = step.scores(groups, wanted, context)
    if not any(score is not None for score in scores.values()):
        raise SqueezeError(
            f"no group can be pruned and scored by {request.importance}",
            where=model.architecture.build,
            hint="'squeeze inspect pruning' shows why",
        )
    drawn = split.take(sensitivity.draw(split, request.samples, 0))
    curves = sensitivity.curves(groups, scores, drawn, task, progress)
    return GroupSensitivities(task.METRIC, curves)


def _task_name(split: "Split", wanted: str | None) -> str:
    """Return the task that the data is labelled for.

    Raises:
        InputError: It is not the one that was asked for.
    """
    task, labels = ("detection", "boxes") if split.has_boxes else ("classification", "classes")
    if wanted not in {None, task}:
        what = f"the images are labelled with {labels}; set task: {task}"
        raise InputError(what, where="data.validation")
    return task
