"""What a task means: its loss, its predictions, its scores."""

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from squeeze.tasks.base import Task

_PLACES = {"classification": "squeeze.tasks.classification"}


def open_task(name: str) -> "Task":
    """Return a task by its name in recipes."""
    return cast("Task", import_module(_PLACES[name]))
