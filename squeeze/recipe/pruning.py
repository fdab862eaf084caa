"""Checks of prune steps that need no torch."""

from collections.abc import Iterator

from squeeze.core import plugins, specs
from squeeze.core.errors import InputError, unknown_name
from squeeze.recipe.document import Path_
from squeeze.recipe.holes import ends_at_holes
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
    yield from _data(step, has_train=has_train)
    yield from _names(step)
    yield from _without_effect(step)


@ends_at_holes
def _data(step: PruneStep, *, has_train: bool) -> Mistakes:
    if has_train:
        return
    if _looks_at_images(step.importance):
        yield ("importance",), f"'{step.importance}' needs images: give data.train"
    if isinstance(step.ratios, SensitivityRatios):
        yield ("ratios",), "from_sensitivity measures accuracy, which needs data.train"
    if step.finetune or step.sparse:
        yield (), "trains, which needs data.train"


@ends_at_holes
def _names(step: PruneStep) -> Mistakes:
    names = plugins.names(plugins.IMPORTANCE)
    if step.importance not in names:
        yield ("importance",), unknown_name("importance", step.importance, names)
    names = plugins.names(plugins.SPARSE)
    if step.sparse is not None and step.sparse.regularizer not in names:
        what = unknown_name("regularizer", step.sparse.regularizer, names)
        yield ("sparse", "regularizer"), what
    if step.speedup is not None:
        yield from ((("speedup", "runtime"), what) for what in _unusable(step.speedup.runtime))


@ends_at_holes
def _without_effect(step: PruneStep) -> Mistakes:
    if step.losses and step.finetune is None:
        yield ("losses",), "are for fine-tuning; add finetune"
    if step.pruning_ratio is not None and isinstance(step.ratios, SensitivityRatios):
        yield ("pruning_ratio",), "has no effect: from_sensitivity finds every layer's ratio"
    if step.ranking != "local" and step.pruning_ratio is None and step.ratios is None:
        yield ("ranking",), "is for ratios, and the step has another goal"


def _unusable(runtime: str) -> Iterator[str]:
    """Yield why nothing can be timed in a runtime."""
    names = plugins.names(plugins.RUNTIMES)
    if runtime not in names:
        yield unknown_name("runtime", runtime, names)
        return
    try:
        spec = specs.runtime(runtime)
    except InputError as error:
        yield str(error)
        return
    missing = spec.missing()
    if missing:
        yield specs.not_installed(runtime, missing, spec.install)


def _looks_at_images(importance: str) -> bool:
    if importance not in plugins.names(plugins.IMPORTANCE):
        return False
    return bool(plugins.load(plugins.IMPORTANCE, importance).NEEDS_DATA)
