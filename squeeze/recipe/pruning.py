"""Checks of prune steps that need no torch."""

from collections.abc import Iterator

from squeeze.core import plugins
from squeeze.core.errors import unknown_name
from squeeze.recipe.document import Path_
from squeeze.recipe.schema import PruneStep, SensitivityRatios

Mistakes = Iterator[tuple[Path_, str]]


def needs_images(step: PruneStep) -> bool:
    """Whether the step cannot do without training images."""
    return bool(
        step.finetune or step.sparse or isinstance(step.ratios, SensitivityRatios)
    ) or _looks_at_images(step.importance)


def mistakes(step: PruneStep, *, has_train: bool) -> Mistakes:
    """Yield what is wrong with a prune step, each with its place inside the step.

    Args:
        step: The step.
        has_train: Whether the recipe has ``data.train``.
    """
    names = plugins.names(plugins.IMPORTANCE)
    if step.importance not in names:
        yield ("importance",), unknown_name("importance", step.importance, names)
    elif not has_train and _looks_at_images(step.importance):
        yield ("importance",), f"'{step.importance}' looks at images, which needs data.train"
    if not has_train and isinstance(step.ratios, SensitivityRatios):
        yield ("ratios",), "from_sensitivity measures accuracy, which needs data.train"
    if not has_train and (step.finetune or step.sparse):
        yield (), "trains, which needs data.train"
    if step.losses and step.finetune is None:
        yield ("losses",), "are for fine-tuning; add finetune"
    if step.sparse is not None:
        names = plugins.names(plugins.SPARSE)
        if step.sparse.regularizer not in names:
            what = unknown_name("regularizer", step.sparse.regularizer, names)
            yield ("sparse", "regularizer"), what
    if step.speedup is not None:
        names = plugins.names(plugins.RUNTIMES)
        if step.speedup.runtime not in names:
            yield ("speedup", "runtime"), unknown_name("runtime", step.speedup.runtime, names)


def _looks_at_images(importance: str) -> bool:
    if importance not in plugins.names(plugins.IMPORTANCE):
        return False
    return bool(plugins.load(plugins.IMPORTANCE, importance).NEEDS_DATA)
