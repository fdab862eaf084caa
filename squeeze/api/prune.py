"""``squeeze.prune``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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


def prune(
    model: "ModelLike",
    example: "Example | None" = None,
    *,
    pruning_ratio: float | None = None,
    data: "DataLike | None" = None,
    validation: "DataLike | None" = None,
    importance: str | None = None,
    settings: Mapping[str, Any] | None = None,
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
    step = block_of(PruneStep, given, settings, "prune")
    for path, what in checks.mistakes(step, has_train=data is not None):
        key = ".".join(map(str, path))
        raise InputError(
            what.replace("data.train", "data"), where=f"prune: {key}" if key else "prune"
        )
    read = None if data is None else given_data(data, "train")
    shown = chosen(progress)
    found = model_of(model, example, shape=None if read is None else read.shape)
    sets = None if read is None else Sets.of(found, read, validation, seed, shown)
    sparsify = finetune = None
    if sets is not None and (step.finetune or step.sparse):
        run_of = training(sets, "pruning")
        sparsify, finetune = (
            recover.sparsifier(step, run_of),
            recover.finetuner(step, found, run_of),
        )
    images = None if sets is None else sets.train
    task = None if sets is None else sets.task
    done = run(found, step, PruneContext(seed, images, task, shown, sparsify, finetune))
    return PruneResult(
        done.model,
        cost.params(done.model),
        cost.macs(done.model),
        cost.params(found),
        cost.macs(found),
        tuple(done.epochs),
        (*done.notes, *(() if images is None else images.notes)),
        done.missed_goal,
    )
