"""What a run needs of a task: all that differs between classification, detection and others."""

from typing import TYPE_CHECKING, Any, Protocol

from squeeze.measure.evaluator import Evaluator

if TYPE_CHECKING:
    from torch import Tensor, nn

    from squeeze.data.splits import Split
    from squeeze.recipe.schema import InputSpec

    ModuleOutputs = Tensor | tuple[Tensor, ...]
    """What a module returns for a batch."""

Labels = Any
"""Of a batch: a tensor of classes ``(n,)`` or shares ``(n, classes)``, a list of ``Boxes``, or what
a task of a third party defines. Only the task and losses written for it know which."""


class Task(Evaluator, Protocol):
    """An evaluator that also knows what a model of its kind returns and how it learns."""

    def of(self, module: "nn.Module") -> "Task":
        """Return the task for this module's outputs; a detector carries how they are read."""
        ...

    def check_model(self, module: "nn.Module", spec: "InputSpec", classes: int) -> None:
        """Run the model once and compare its outputs with the data.

        Raises:
            InputError: It does not run on this input, or its outputs do not fit the data.
        """
        ...

    def loss(
        self,
        outputs: "ModuleOutputs",
        labels: Labels,
        *,
        label_smoothing: float,
        focal_gamma: float = 0.0,
    ) -> "Tensor":
        """Return the mean training loss of a batch."""
        ...

    def evaluate(self, module: "nn.Module", split: "Split", device: str) -> float:
        """Return the metric in [0, 1] in torch, to watch a training; reports never show it."""
        ...


class TaskModule(Protocol):
    """``task.py`` in a task's folder."""

    def open_task(self, spec: "InputSpec") -> Task:
        """Return the task for models that are fed like this."""
        ...
