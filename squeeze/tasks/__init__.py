"""Tasks, a folder each: loss, predictions, metrics, and what reports show of them.

The folder's ``__init__.py`` holds a ``TaskSpec`` as ``SPEC`` and imports nothing heavy; ``task.py``
has ``open_task(spec)``, which returns a ``base.Task``; ``report.py`` is a ``reporting.TaskReport``.
"""

from typing import TYPE_CHECKING, cast

from squeeze.core import tasks

if TYPE_CHECKING:
    from squeeze.recipe.schema import InputSpec
    from squeeze.tasks.base import Task, TaskModule
    from squeeze.tasks.reporting import TaskReport


def open_task(name: str, spec: "InputSpec") -> "Task":
    """Return a task by its name in recipes.

    Args:
        name: For example ``classification`` or ``detection``.
        spec: What the model is fed.
    """
    return cast("TaskModule", tasks.part_of(name, "task")).open_task(spec)


def report_of(name: str) -> "TaskReport":
    """Return what reports show of a task.

    Raises:
        InputError: No task has this name here, for example because its package is not installed.
    """
    return cast("TaskReport", tasks.part_of(name, "report"))
