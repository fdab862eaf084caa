"""What everything that trains is given: two sets, a task, and where progress goes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from squeeze.api.data import given_data
from squeeze.api.inputs import classes_of, detector_of
from squeeze.core.errors import InputError
from squeeze.data import checks
from squeeze.tasks import open_task
from squeeze.training.inputs import Training

if TYPE_CHECKING:
    from squeeze.api.data import DataLike, GivenData
    from squeeze.core.types import Progress
    from squeeze.data.splits import Split
    from squeeze.models.types import Model
    from squeeze.tasks.base import Task


@dataclass(frozen=True)
class Sets:
    """The data of a model, read as its task wants it.

    Attributes:
        validation: None where nothing is watched.
    """

    train: "Split"
    validation: "Split | None"
    task: "Task"
    seed: int
    progress: "Progress"

    @classmethod
    def of(
        cls,
        model: "Model",
        read: "GivenData",
        validation: "DataLike | None",
        seed: int,
        progress: "Progress",
    ) -> "Sets":
        """Read what was given.

        Args:
            model: Knows its input and its classes.
            read: The training data.
            validation: Nothing is watched when None.
            seed: Of the training.
            progress: Where reading is shown.

        Raises:
            InputError: The data does not fit the model, or the sets share samples.
        """
        classes, watched = classes_of(model), None
        train = read.split(model.input, classes, progress, seed=seed)
        if validation is not None:
            given = given_data(validation, "validation")
            watched = given.split(model.input, classes, progress, seed=seed)
            checks.without_overlap(train, watched, drop=False)
        return cls(train, watched, task_of(model), seed, progress)


def task_of(model: "Model") -> "Task":
    """Return the task that reads a model's outputs."""
    name = "classification" if detector_of(model) is None else "detection"
    return open_task(name, model.input).of(model.module)


def training(sets: Sets, label: str) -> Training:
    """Return what the training loop is given.

    Raises:
        InputError: There is nothing to watch.
    """
    if sets.validation is None:
        raise InputError(
            "is needed and was not given",
            where="validation",
            hint="training is watched on labelled images that it does not learn from",
        )
    return Training(sets.train, sets.validation, sets.task, sets.seed, sets.progress, label)
