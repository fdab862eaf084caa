"""What a task means: its loss, its predictions, its scores."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from squeeze.recipe.schema import InputSpec
    from squeeze.tasks.base import Task


def open_task(name: str, spec: "InputSpec") -> "Task":
    """Return a task by its name in recipes.

    Args:
        name: ``classification`` or ``detection``.
        spec: What the model is fed.
    """
    if name == "detection":
        from squeeze.tasks.detection import Detection

        return Detection((spec.shape[1], spec.shape[2]))
    from squeeze.tasks import classification

    return classification
