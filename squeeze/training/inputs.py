"""What a training needs besides the model and its settings."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from squeeze.training.checkpoint import Checkpoints

if TYPE_CHECKING:
    from squeeze.core.types import Progress
    from squeeze.data.splits import Split
    from squeeze.tasks.base import Task


@dataclass(frozen=True)
class Training:
    """The data, task and seed of a training, and where it reports and saves its state.

    Attributes:
        train: Samples to learn from.
        validation: Watched after every epoch; never learned from.
        task: Loss and predictions.
        seed: Order of samples and augmentation.
        progress: Where the bar goes.
        label: The bar's text.
        checkpoints: Where the training saves its state after every epoch and resumes from; None
            saves nothing.
    """

    train: "Split"
    validation: "Split"
    task: "Task"
    seed: int
    progress: "Progress"
    label: str
    checkpoints: Checkpoints | None = None
