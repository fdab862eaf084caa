"""``squeeze.prune``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from squeeze.api.data import given_data
from squeeze.api.inputs import block_of, model_of
from squeeze.api.progress import chosen
from squeeze.api.results import PruneResult
from squeeze.api.training import Sets, training
from squeeze.core.errors import InputError
from squeeze.measure import cost
from squeeze.pruning import recover
from squeeze.pruning.step import PruneContext, run
from squeeze.recipe import pruning as checks
from squeeze.recipe.schema import PruneStep

if TYPE_CHECKING:
    from squeeze.api.data import DataLike
    from squeeze.api.inputs import Example, ModelLike
    from squeeze.core.types import Progress
    from squeeze.models.types import Model


def prune(
    model: "ModelLike",
    example: "Example | None" = None,
    *,
    pruning_ratio: float | None = None,
    data: "DataLike | None" = None,
    validation: "DataLike | None" = None,
    importance: str | None = None,
    settings: Mapping[str, object] | None = None,
    seed: int = 0,
    progress: "Progress | bool | None" = None,
) -> PruneResult:
    """Remove whole channels from a copy of a model, everywhere they are coupled.

    Args:
        model: A module in eval mode, a result, or a bundle's folder; it stays as it is.
        example: Images ``(N, C, H, W)``, a shape ``(C, H, W)`` or an ``InputSpec``; needed where
            neither the model nor ``data`` tells the input.
        pruning_ratio: Fraction of every layer's channels to remove, [0, 1).
        data: Labelled training images, for criteria that look at them, for batch norms, which are
            estimated again, and for fine-tuning.
        validation: Labelled images that are watched while fine-tuning, and never learned from.
        importance: Name of a criterion; ``l2`` when left out.
        settings: Any other key of a recipe's prune step, ``{"align": 16}`` or ``{"macs":
            {"times_fewer": 2}}`` for example; with ``finetune`` the model is trained afterwards.
        seed: For criteria that draw, and for training.
        progress: True, False, an object of your own, or None: shown in terminals and notebooks.

    Returns:
        The pruned model, its costs before and after, and what was left alone.

    Raises:
        InputError: Wrong use: no data where it is needed, a module in training mode, a pattern
            that matches no layer.
        SqueezeError: Nothing can be pruned.

    Example:
        >>> smaller = squeeze.prune(model, pruning_ratio=0.5, data=train_loader)
        >>> smaller.model  # a torch.nn.Module, to be trained further
    """
    given = {"pruning_ratio": pruning_ratio, "importance": importance}
    step = _step(block_of(PruneStep, given, settings, "prune"), has_data=data is not None)
    read = None if data is None else given_data(data, "train")
    shown = chosen(progress)
    unpruned = model_of(model, example, shape=None if read is None else read.shape)
    sets = None if read is None else Sets.of(unpruned, read, validation, seed, shown)
    pruned = run(unpruned, step, _context(step, unpruned, sets, seed, shown))
    notes = () if sets is None else sets.train.notes
    return PruneResult(
        pruned.model,
        cost.params(pruned.model),
        cost.macs(pruned.model),
        cost.params(unpruned),
        cost.macs(unpruned),
        tuple(pruned.epochs),
        (*pruned.notes, *notes),
        pruned.missed_goal,
    )


def _step(step: PruneStep, *, has_data: bool) -> PruneStep:
    """Return a step that needs nothing that was not given.

    Raises:
        InputError: It needs data, or its keys contradict each other.
    """
    for path, what in checks.mistakes(step, has_train=has_data):
        where = ": ".join(filter(None, ("prune", ".".join(map(str, path)))))
        raise InputError(what.replace("data.train", "data"), where=where)
    return step


def _context(
    step: PruneStep, model: "Model", sets: Sets | None, seed: int, progress: "Progress"
) -> PruneContext:
    """Return what pruning is given besides the model: data, and how it is trained."""
    if sets is None:
        return PruneContext(seed, None, None, progress)
    sparsify = finetune = None
    if step.finetune or step.sparse:
        run_of = training(sets, "pruning")
        sparsify = recover.sparsifier(step, run_of)
        finetune = recover.finetuner(step, model, run_of)
    return PruneContext(seed, sets.train, sets.task, progress, sparsify, finetune)
