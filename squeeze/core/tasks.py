"""What is known of a task before anything is opened: its labels, its metrics, and their names.

The package of every task holds a ``TaskSpec`` as ``SPEC``. Recipes are checked with it, so it needs
neither torch nor data.
"""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from squeeze.core import plugins
from squeeze.core.errors import InputError

DEFAULT = "classification"
AGREEMENT = "agreement"
"""The metric that every task has besides its own."""


@dataclass(frozen=True)
class Metric:
    """A figure of accuracy in [0, 1], higher is better.

    Attributes:
        name: In recipes, for example ``top1``.
        label: In reports, for example ``top-1``.
    """

    name: str
    label: str


@dataclass(frozen=True)
class TaskSpec:
    """What recipes and reports need to know of a task.

    Attributes:
        name: In recipes.
        labels: What the samples are labelled with: one class each, or boxes.
        metrics: What gates may limit; the first one is the main figure, which training reports and
            mixed precision holds unless the recipe names another. Percent in reports.
        decodes: Whether reading outputs is work that an application has to do too; latency then is
            given with and without it.
    """

    name: str
    labels: Literal["classes", "boxes"]
    metrics: tuple[Metric, ...]
    decodes: bool = False

    @property
    def main(self) -> Metric:
        """The figure that stands for a model's accuracy."""
        return self.metrics[0]

    @property
    def metric_names(self) -> tuple[str, ...]:
        """What ``metric`` may be in a recipe where it is about accuracy."""
        return (*(metric.name for metric in self.metrics), AGREEMENT)


def spec_of(name: str) -> TaskSpec:
    """Return a task's spec by its name in recipes.

    Raises:
        InputError: There is no such task, or its package says nothing about it.
    """
    module = plugins.load(plugins.TASKS, name)
    spec = getattr(module, "SPEC", None)
    if not isinstance(spec, TaskSpec):
        raise InputError("is not a task: it has no SPEC (a TaskSpec)", where=module.__name__)
    return spec


def accuracy_metrics() -> list[str]:
    """Return what gates on accuracy may limit, of all tasks; one that cannot be imported has none.

    Which of them the task of a recipe has is another question: ``TaskSpec.metric_names``.
    """
    found: dict[str, None] = {}
    for name in plugins.names(plugins.TASKS):
        with suppress(InputError):
            found |= dict.fromkeys(metric.name for metric in spec_of(name).metrics)
    return list(found)


def part_of(name: str, part: str) -> object:
    """Return a module of a task's package, imported.

    Args:
        name: The task, in recipes.
        part: ``task`` or ``report``.

    Raises:
        InputError: There is no such task, or its package lacks this module.
    """
    package = plugins.load(plugins.TASKS, name).__name__
    return plugins.imported(f"{package}.{part}")


def not_available(metric: str, task: str, available: Collection[str]) -> str:
    """Return the sentence for a metric that a task does not have."""
    return f"metric '{metric}' is not available for {task}; available: {', '.join(available)}"
