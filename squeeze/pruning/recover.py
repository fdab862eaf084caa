"""Training around pruning: sparse training before, fine-tuning after, by the one training loop."""

from dataclasses import replace
from typing import TYPE_CHECKING

from squeeze.core import plugins
from squeeze.distillation.step import distill
from squeeze.models.copying import copied
from squeeze.models.types import Model
from squeeze.pruning.graph import find_groups
from squeeze.pruning.sparse.base import all_weights
from squeeze.recipe.schema import DistillStep, PruneStep
from squeeze.results import Epoch
from squeeze.training.inputs import Training
from squeeze.training.loop import train_

if TYPE_CHECKING:
    from squeeze.pruning.step import Train


def sparsifier(step: PruneStep, training: Training) -> "Train | None":
    """Return a function that trains a copy with a regulariser on the groups to be pruned.

    None where the step has no sparse training.
    """
    settings = step.sparse
    if settings is None:
        return None

    def train(model: Model, number: int) -> tuple[Model, list[Epoch]]:
        from torch import nn

        del number
        found = find_groups(model, keep=step.keep, whole_heads=step.attention == "heads")
        found = replace(found, module=copied(found.module))  # a survey shares the model's weights
        plugin = plugins.load(plugins.SPARSE, settings.regularizer)
        pull = plugin.regularizer(all_weights(found, found.prunable), settings.strength)
        label = f"{training.label}: sparse training"
        epochs = train_(
            found.module,
            settings,
            replace(training, label=label),
            extra=pull
            if isinstance(pull, nn.Module)
            else None,  # its buffers are resumed after a kill
            after_backward=pull,
        )
        before = model.architecture
        rewritten = replace(before, adapters=(*before.adapters, *found.adapters))
        return Model(found.module, rewritten), epochs

    return train


def finetuner(step: PruneStep, teacher: Model, training: Training) -> "Train | None":
    """Return a function that fine-tunes a copy after a round; None where the step has none.

    Args:
        step: With ``losses``, fine-tuning is distillation.
        teacher: The unpruned model.
        training: Data and surroundings.
    """
    settings = step.finetune
    if settings is None:
        return None

    def train(model: Model, number: int) -> tuple[Model, list[Epoch]]:
        label = f"{training.label}: fine-tuning"
        if step.rounds > 1:
            label += f" after round {number} of {step.rounds}"
        here = replace(training, label=label)
        if step.losses:
            plan = DistillStep(
                **settings.model_dump(), losses=step.losses, label_weight=step.label_weight
            )
            return distill(model, teacher, plan, here)[:2]
        trained = model.copy()
        return trained, train_(trained.module, settings, here)

    return train
