"""The prune step: survey, score, choose widths, remove, re-estimate batch norms, fine-tune."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from squeeze.core import patterns, plugins
from squeeze.core.errors import InputError, SqueezeError
from squeeze.core.types import Progress, Silent
from squeeze.models.copying import copied
from squeeze.models.types import Model, PruningRound
from squeeze.pruning import criterion_group, goals, ranking, sensitivity
from squeeze.pruning.graph import OUTPUT, find_groups, remove_
from squeeze.pruning.groups import PruningGroups
from squeeze.pruning.importance.base import Evidence
from squeeze.pruning.ranking import Kept, Limits
from squeeze.recipe.schema import PruneStep, SensitivityRatios
from squeeze.results import MissedGoal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from squeeze.data.splits import Split
    from squeeze.pruning.importance.base import Scorer
    from squeeze.results import Epoch
    from squeeze.tasks.base import Labels, Task

    Train = Callable[[Model, int], tuple[Model, list[Epoch]]]
    """A model and the number of the round to the trained model."""
    Scores = Mapping[str, Tensor | None]

_USUAL_ALIGN = 8
_BATCH = 64
_SHOWN = 4


@dataclass(frozen=True)
class PruneContext:
    """What a prune step may use besides its model.

    Attributes:
        seed: For criteria that draw, and for the draw of samples.
        images: Training samples, for criteria with data and for batch norms; None without.
        task: Makes the loss of criteria with data.
        progress: Where bars and narration go.
        sparsify: Trains a copy with the step's regulariser, before round 1; None without one.
        finetune: Trains a copy after a round; None without ``finetune``.
    """

    seed: int
    images: "Split | None" = None
    task: "Task | None" = None
    progress: Progress = field(default_factory=Silent)
    sparsify: "Train | None" = None
    finetune: "Train | None" = None

    def drawn(self, samples: int) -> "Split | None":
        """Return some training samples, always the same ones."""
        if self.images is None:
            return None
        return self.images.take(sensitivity.draw(self.images, samples, self.seed))


@dataclass(frozen=True)
class PruneOutcome:
    """The pruned model, with notes for the report, and its aim where that was missed."""

    model: Model
    epochs: "list[Epoch]"
    notes: list[str]
    missed_goal: MissedGoal | None = None


def prune(model: Model, step: PruneStep, *, seed: int) -> Model:
    """Prune without data: no training, no criterion that looks at images.

    Raises:
        InputError, SqueezeError: See ``run``.
    """
    return run(model, step, PruneContext(seed)).model


def run(model: Model, step: PruneStep, around: PruneContext) -> PruneOutcome:
    """Prune a copy of the model in ``step.rounds`` rounds.

    Args:
        model: Left as it is.
        step: The recipe's numbers.
        around: Data, training and progress.

    Raises:
        InputError: The step does not fit the model: a pattern that matches nothing.
        SqueezeError: Nothing can be pruned, or a score is not finite.
    """
    notes: list[str] = []
    epochs: list[Epoch] = []
    rounds_before = len(model.architecture.pruning)
    aim = goals.open_goal(model, step, around.progress)
    if around.sparsify is not None:
        model, epochs = around.sparsify(model, 0)
    original: dict[str, int] = {}
    ratios: dict[str, float] = {}
    try:
        for number in range(1, step.rounds + 1):
            found = find_groups(model, keep=step.keep, whole_heads=step.attention == "heads")
            _check(found, model)
            original = original or {group.name: group.channels for group in found.groups}
            scored = scores(found, step, around)
            if number == 1 and aim.by_ratio:  # of the channels before the first round
                ratios = _ratios(found, scored, step, around)
            now = goals.ScoredGroups(
                model,
                found,
                {name: score for name, score in scored.items() if score is not None},
                plugins.load(plugins.IMPORTANCE, step.importance).IN_LOSS_UNITS,
                Limits(_align(step), step.max_ratio, original),
                number / step.rounds,
                ratios,
            )
            chosen = aim.choose(now)
            model, gone = _apply(model, found, chosen.kept, scored, step)
            label = f"round {number}: " if step.rounds > 1 else ""
            lines = _removed(found, scored, gone, step) + chosen.notes + _left(found, scored, step)
            notes += [label + line for line in lines]
            model = _reestimated(model, step, around)
            if around.finetune is not None:
                model, trained = around.finetune(model, number)
                epochs += trained
    finally:
        aim.close()
    _check_removed(model, rounds_before, step)
    return PruneOutcome(model, epochs, notes, chosen.missed_goal)


def _check_removed(model: Model, rounds_before: int, step: PruneStep) -> None:
    """Refuse a model from which nothing was removed, unless nothing was asked for.

    Raises:
        SqueezeError: It was.
    """
    wants_some = step.pruning_ratio != 0 or step.ratios
    if wants_some and len(model.architecture.pruning) == rounds_before:
        raise SqueezeError(
            f"nothing could be removed with align {_align(step)} and max_ratio {step.max_ratio}",
            where=model.architecture.build,
            hint="ask for more, raise max_ratio, or lower align",
        )


def scores(
    found: PruningGroups, step: PruneStep, around: PruneContext
) -> "dict[str, Tensor | None]":
    """Return the score of every unit of every prunable group, None where there is none.

    Raises:
        SqueezeError: A score is NaN or infinite.
    """
    import torch

    criterion = plugins.load(plugins.IMPORTANCE, step.importance)
    torch.manual_seed(around.seed)
    module = found.module.eval()
    wants_grad = {name: p.requires_grad for name, p in module.named_parameters()}
    module.requires_grad_(requires_grad=True)
    scored: dict[str, Tensor | None] = {}
    try:
        with torch.enable_grad():
            scorer: Scorer = criterion.scorer(_evidence(module, step, around))
        for group in found.prunable:
            given = scorer(criterion_group.members(module, group.dependencies))
            if given is not None and not bool(torch.isfinite(given).all()):
                raise SqueezeError(
                    f"importance '{step.importance}' is not finite for {group.name}",
                    hint="use another criterion, or keep the layer",
                )
            scored[group.name] = None if given is None else group.per_unit(given.detach().cpu())
    finally:
        module.zero_grad(set_to_none=True)
        for name, parameter in module.named_parameters():
            parameter.requires_grad = wants_grad[name]
    return scored


def _evidence(module: "nn.Module", step: PruneStep, around: PruneContext) -> Evidence:
    import torch

    split = around.drawn(step.samples)
    if split is None or around.task is None:
        return Evidence(module)
    task = around.task.of(module)

    def labelled() -> "Iterator[tuple[Tensor, Labels]]":
        for images, labels in split.batches(_BATCH):
            is_array = isinstance(labels, np.ndarray)
            yield torch.from_numpy(images), torch.from_numpy(labels) if is_array else labels

    def loss(outputs: Any, labels: "Labels") -> "Tensor":  # noqa: ANN401
        return task.loss(outputs, labels, label_smoothing=0.0)

    return Evidence(module, labelled, loss)


def _align(step: PruneStep) -> int:
    return _USUAL_ALIGN if step.align == "auto" else step.align


def _ratios(
    found: PruningGroups, scored: "Scores", step: PruneStep, around: PruneContext
) -> dict[str, float]:
    """Return the fraction to remove from every prunable group.

    Raises:
        InputError: A pattern matches no layer that makes channels which may go.
    """
    if isinstance(step.ratios, SensitivityRatios):
        settings = step.ratios.from_sensitivity
        split = around.drawn(settings.samples)
        return sensitivity.ratios(found, scored, split, around.task, settings, around.progress)
    ratios = {group.name: step.pruning_ratio or 0.0 for group in found.prunable}
    for pattern, ratio in (step.ratios or {}).items():
        named = set(patterns.matching(found.layers, pattern, where="ratios"))
        hits = [
            group
            for group in found.groups
            if any(
                dependency.is_out and patterns.inside(dependency.path, named)
                for dependency in group.dependencies
            )
        ]
        if not hits:
            raise InputError(
                f"'{pattern}' matches {', '.join(sorted(named)[:_SHOWN])}, which make no channels",
                where="ratios",
                hint="'squeeze inspect pruning' lists the layers",
            )
        if all(group.kept for group in hits):
            reasons = "; ".join(f"{group.name} {group.kept}" for group in hits)
            raise InputError(
                f"'{pattern}' matches only what is left alone: {reasons}", where="ratios"
            )
        ratios |= {group.name: ratio for group in hits if group.kept is None}
    return ratios


def _check(found: PruningGroups, model: Model) -> None:
    if found.prunable:
        return
    reasons = {group.kept: group.name for group in found.groups}
    listed = "; ".join(f"{name}: {reason}" for reason, name in reasons.items())
    raise SqueezeError(
        f"nothing can be pruned: {listed or 'no convolution or linear layer was reached'}",
        where=model.architecture.build,
        hint="'squeeze inspect pruning' shows every layer",
    )


def _apply(
    model: Model, found: PruningGroups, kept: Kept, scored: "Scores", step: PruneStep
) -> tuple[Model, dict[str, set[int]]]:
    """Remove the weakest units of every group; return the model and what went."""
    gone: dict[str, set[int]] = {}
    for group in found.prunable:
        score = scored[group.name]
        count = group.units - kept.get(group.name, group.units)
        if score is not None and count > 0:
            gone[group.name] = ranking.weakest(group, score, count)
    if not gone:
        return model, gone
    module = copied(found.module)
    remove_(module, found.groups, gone)
    removed = {
        group.name: tuple(sorted(c for unit in gone[group.name] for c in group.of_unit(unit)))
        for group in found.groups
        if group.name in gone
    }
    record = PruningRound(importance=step.importance, removed=removed)
    return model.pruned(module.eval(), record, found.adapters), gone


def _reestimated(model: Model, step: PruneStep, around: PruneContext) -> Model:
    """Average the batch norms' statistics anew: those of the wider model no longer fit."""
    import torch
    from torch import nn
    from torch.optim.swa_utils import update_bn

    split = around.drawn(step.samples)
    norms = nn.modules.batchnorm._BatchNorm  # noqa: SLF001  (the only common base)
    if (
        not step.reestimate_batchnorm
        or split is None
        or len(split) == 1  # a single image has no variance
        or not any(isinstance(part, norms) for part in model.module.modules())
    ):
        return model
    module = copied(model.module)
    update_bn((torch.from_numpy(x) for x, _ in split.batches(_BATCH) if len(x) > 1), module)
    return replace(model, module=module.eval())


def _removed(
    found: PruningGroups, scored: "Scores", gone: Mapping[str, set[int]], step: PruneStep
) -> list[str]:
    channels = sum(group.channels for group in found.prunable)
    removed = sum(len(gone.get(group.name, ())) * group.unit for group in found.prunable)
    total = sum(float(s.sum()) for s in scored.values() if s is not None)
    lost = sum(
        float(score[sorted(gone[name])].sum())
        for name, score in scored.items()
        if score is not None and name in gone
    )
    kept = f", {1 - lost / total:.1%} of the importance kept" if total > 0 else ""
    groups = f"{len(gone)} of {len(found.groups)} groups"
    notes = [f"{removed:,} of {channels:,} channels in {groups} removed by {step.importance}{kept}"]
    if found.adapters:
        notes.append(f"rewritten before pruning: {', '.join(found.adapters)}")
    return notes


def _left(found: PruningGroups, scored: "Scores", step: PruneStep) -> list[str]:
    """Name everything that was not pruned, with the reason."""
    kept = [g for g in found.groups if g.kept is not None and g.kept != OUTPUT]
    return [
        *(f"left alone: {g.name} ({g.channels} channels) {g.kept}" for g in kept),
        *(
            f"left alone: {name} has no score by {step.importance}"
            for name, score in scored.items()
            if score is None
        ),
        *(f"never reached by the forward pass: {path}" for path in found.unreached),
    ]
