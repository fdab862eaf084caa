"""The steps that change a torch module: baseline training, prune, distill. A bundle after each."""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze._version import __version__
from squeeze.core.errors import SqueezeError, placed
from squeeze.distillation.step import distill
from squeeze.measure import cost, environment
from squeeze.models import blocks, bundle, reference
from squeeze.models.types import Model
from squeeze.pipeline.steps import RunContext
from squeeze.pruning.recover import finetuner, sparsifier
from squeeze.pruning.step import PruneContext
from squeeze.pruning.step import run as prune
from squeeze.quantization import weight_bits
from squeeze.quantization.qat import simulation
from squeeze.quantization.qat import step as qat
from squeeze.recipe.schema import (
    RANDOM,
    DistillStep,
    ModelBlock,
    PruneStep,
    QatStep,
    QuantizeStep,
    Recipe,
    TrainSettings,
)
from squeeze.results import Epoch, MissedGoal, ModelRecord
from squeeze.store import key_of
from squeeze.training import distributed
from squeeze.training.checkpoint import Checkpoints
from squeeze.training.inputs import Training
from squeeze.training.loop import train_

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[Checkpoints], "Done"]

BASELINE = "baseline"
_RECORDS = 3
"""Raised when ``ModelRecord`` changes, so that steps of earlier versions are not reused."""


@dataclass(frozen=True)
class Done:
    """What a step's work gave: a model, epochs, notes, ranges that it trained, a missed goal."""

    model: Model
    epochs: list[Epoch]
    notes: list[str]
    ranges: simulation.Ranges | None = None
    missed_goal: MissedGoal | None = None


@dataclass(frozen=True)
class ModelState:
    """A model after a step, with its record and its bundle.

    Attributes:
        key: Of the step.
        ranges: Of a model that was trained to be quantized; its float model does not ship.
    """

    record: ModelRecord
    model: Model
    bundle: Path
    key: str
    ranges: simulation.Ranges | None = None

    @property
    def ships(self) -> bool:
        """Whether files are made of it: not of one that was trained to be quantized."""
        return self.ranges is None


def compress(model: Model, context: RunContext) -> list[ModelState]:
    """Return the state of the baseline and after every module step, in order."""
    recipe = context.recipe
    key = baseline_key(model, context)
    settings = recipe.baseline.train if recipe.baseline else None
    states = [
        _state(BASELINE, BASELINE, key, context, lambda c: _baseline(model, settings, context, c))
    ]
    for number, step in enumerate(recipe.steps, start=1):
        if isinstance(step, QuantizeStep):
            continue
        blocks = [getattr(step, "teacher", None), getattr(step, "student", None)]
        key = key_of(
            key,
            step.model_dump(),
            [_content(b, context.base) if isinstance(b, ModelBlock) else None for b in blocks],
            *(_calibrated(step, context) if isinstance(step, QatStep) else ()),
        )
        work = _work(step, number, states, context)
        with placed(f"steps.{number - 1}", type(step).model_fields):
            states.append(_state(f"{number}-{step.method}", step.method, key, context, work))
    return states


def baseline_key(model: Model, context: RunContext) -> str:
    """Return the key of the baseline: model, seed, data, and how it is trained."""
    recipe = context.recipe
    key = key_of(
        __version__,
        _RECORDS,
        recipe.task,
        recipe.seed,
        _content(recipe.model, context.base),
        model.input.model_dump(),
        [split and split.fingerprint for split in (context.data.train, context.data.validation)],
        list(context.data.classes),
    )
    settings = recipe.baseline.train if recipe.baseline else None
    where = computed_with() if _deterministic(recipe) else None
    return key_of(key, settings and settings.model_dump(), where)


def computed_with() -> dict[str, str | int]:
    """Return what decides the last bits of what torch computes besides its input."""
    return environment.arithmetic() | {"processes": distributed.size()}


def _deterministic(recipe: Recipe) -> bool:
    """Tell whether a training must give the same bits: then so must all that it starts from."""
    blocks: list[object] = [recipe.baseline and recipe.baseline.train]
    for step in recipe.steps:
        blocks += [step, getattr(step, "finetune", None), getattr(step, "sparse", None)]
    return any(getattr(block, "deterministic", False) for block in blocks)


def _state(name: str, method: str, key: str, context: RunContext, work: "Work") -> ModelState:
    """Reuse a step of an earlier run, or do it and leave its bundle."""
    place, warn = context.folder.step(name), context.progress.warn
    found = distributed.from_first(
        lambda: None if context.fresh else context.folder.reuse(name, key, warn)
    )
    if found is not None:
        context.progress.say(f"{name}: reused from run {found['reused_from']}")
        source = distributed.from_first(place.resolve)
        record = _noted(ModelRecord.model_validate(found), warn)
        return ModelState(record, bundle.load(source), place, key, simulation.read(source))
    context.progress.say(f"{name}: starts")
    started = time.perf_counter()
    left = context.folder.resume_checkpoints(name, key, warn, fresh=context.fresh)
    done = work(Checkpoints(left, key))
    record = ModelRecord(name=name, method=method, params=0, macs=0, seconds=0.0)
    if not distributed.rank():  # the first process writes
        record = _finished(record, done, time.perf_counter() - started, place, context)
        context.folder.finish_step(name, key, record.model_dump(mode="json"))
    return ModelState(record, done.model, place, key, done.ranges)


def _finished(
    record: ModelRecord, done: Done, seconds: float, place: Path, context: RunContext
) -> ModelRecord:
    """Write a step's bundle, and return its record in full."""
    bundle.save(done.model, place)
    if done.ranges is not None:
        simulation.write(done.ranges, place)
    record = ModelRecord(
        name=record.name,
        method=record.method,
        params=cost.params(done.model),
        macs=cost.macs(done.model),
        seconds=seconds,
        notes=tuple(done.notes),
        epochs=tuple(done.epochs),
        bundle=str(place.relative_to(context.folder.path)),
        missed_goal=done.missed_goal,
        computed_with=computed_with() if done.epochs or record.method != BASELINE else {},
    )
    kept = next((epoch for epoch in reversed(record.epochs) if epoch.kept), None)
    last = f", {context.task.METRIC} in torch {kept.score:.1%}" if kept else ""
    if kept:
        last += f"; {kept.images_per_s:,.0f} images/s, {kept.data_wait:.0%} waiting for data"
    context.progress.say(f"{record.name}: {record.params:,} params, {record.macs:,} MACs{last}")
    return record


def _noted(record: ModelRecord, warn: "Callable[[str], None]") -> ModelRecord:
    """Return a reused step's record; where this run would compute otherwise, with a note."""
    now, then = computed_with(), record.computed_with
    other = [f"{n} {then[n]} (now {now[n]})" for n in now if then.get(n, now[n]) != now[n]]
    if not other:
        return record
    note = f"computed by run {record.reused_from} with {', '.join(other)}"
    warn(f"{record.name}: reused, {note}; this run may compute it differently: --fresh does so")
    return record.model_copy(update={"notes": (*record.notes, note)})


def train_baseline(
    model: Model, settings: TrainSettings, context: RunContext, checkpoints: Checkpoints
) -> tuple[Model, list[Epoch]]:
    """Train a copy of the model; without weights it starts from the recipe's seed."""
    import torch

    trained = model.copy()
    if context.recipe.model.stored_weights is None:
        torch.manual_seed(context.recipe.seed)
        trained = blocks.build(context.recipe.model, context.base).knowing(context.data.classes)
    return trained, train_(
        trained.module, settings, _training("training the baseline", context, checkpoints)
    )


def _training(label: str, context: RunContext, checkpoints: Checkpoints) -> Training:
    """Return what a training needs besides its model and settings."""
    if context.data.train is None:
        raise SqueezeError("needs training data, but the recipe has no data.train", where=label)
    return Training(
        context.data.train,
        context.data.validation,
        context.task,
        context.recipe.seed,
        context.progress,
        label,
        checkpoints,
    )


def _baseline(
    model: Model, settings: TrainSettings | None, context: RunContext, checkpoints: Checkpoints
) -> Done:
    if settings is None:
        random = context.recipe.model.weights == RANDOM
        return Done(model, [], ["random weights, as the recipe says"] if random else [])
    return Done(*train_baseline(model, settings, context, checkpoints), ["trained by this recipe"])


def _work(
    step: PruneStep | DistillStep | QatStep,
    number: int,
    states: list[ModelState],
    context: RunContext,
) -> "Work":
    """Return the function that does a step on the model as it is now."""
    label = f"{number}-{step.method}"
    baseline, current = states[0].model, states[-1].model

    def work(checkpoints: Checkpoints) -> Done:
        if isinstance(step, PruneStep):
            trains = step.finetune is not None or step.sparse is not None
            training = _training(label, context, checkpoints) if trains else None
            return _prune(step, current, context, training)
        training = _training(label, context, checkpoints)
        if isinstance(step, QatStep):
            return _qat(step, (current, baseline), context, training)
        return _distill(step, (current, baseline), context, training)

    return work


def _prune(step: PruneStep, current: Model, context: RunContext, training: Training | None) -> Done:
    sparse = tuned = None
    if training is not None:
        sparse = sparsifier(step, training)
        tuned = finetuner(step, current, training)
    around = PruneContext(
        context.recipe.seed,
        context.data.train,
        context.task,
        context.progress,
        sparse,
        tuned,
    )
    done = prune(current, step, around)
    before, after = cost.macs(current), cost.macs(done.model)
    notes = [f"{before / after:.2f}x fewer MACs", *done.notes]
    return Done(done.model, done.epochs, notes, missed_goal=done.missed_goal)


def _distill(
    step: DistillStep, models: tuple[Model, Model], context: RunContext, training: Training
) -> Done:
    """Distill into the current model or the step's student; by default the baseline teaches."""
    import torch

    student, teacher = models
    given = student.input
    if isinstance(step.teacher, ModelBlock):
        torch.manual_seed(context.recipe.seed)  # of random weights
        teacher = blocks.build(step.teacher, context.base, default_input=given)
    torch.manual_seed(context.recipe.seed)
    if step.student is not None:
        student = blocks.build(step.student, context.base, default_input=given)
        student = student.knowing(context.data.classes)
    student, epochs, pairs = distill(student, teacher, step, training)
    names = [("teacher", step.teacher), ("student", step.student)]
    notes = [f"{who}: {b.build or b.weights}" for who, b in names if isinstance(b, ModelBlock)]
    if not isinstance(step.teacher, ModelBlock):
        notes.insert(0, f"teacher: {BASELINE}")
    return Done(student, epochs, notes + pairs)


def _qat(
    step: QatStep, models: tuple[Model, Model], context: RunContext, training: Training
) -> Done:
    """Train in the simulation of the int8 files of all targets."""
    calibration = context.data.calibration
    if calibration is None:
        raise SqueezeError("needs calibration data", where=training.label)
    bits = weight_bits.weight_bits(step, context.recipe.targets)
    step = step.model_copy(update={"weight_bits": bits})
    done = qat.train(*models, step, training, calibration)
    return Done(done.model, done.epochs, done.notes, done.ranges)


def _calibrated(step: QatStep, context: RunContext) -> list[object]:
    """Return what decides training in the simulation besides the step itself."""
    calibration = context.data.calibration
    bits = weight_bits.weight_bits(step, context.recipe.targets)
    return [bits, calibration and calibration.fingerprint]


def _content(block: ModelBlock, base: Path) -> list[object]:
    """Return what decides a model's content: its block and hashes of the files it names."""
    paths = []
    for named in filter(None, (block.stored_weights, block.backbone_weights)):
        weights = reference.package_file(named) if named.startswith("package:") else base / named
        if reference.is_transformers_folder(weights):
            paths += sorted([weights / "config.json", *weights.glob("*.safetensors")])
            continue
        in_bundle = [weights / bundle.ARCHITECTURE, weights / bundle.WEIGHTS]
        paths += in_bundle if weights.is_dir() else [weights]
    head = (block.build or "").rpartition(":")[0]
    if head.endswith(".py"):
        paths.append(base / head)
    hashes = []
    for path in paths:
        with path.open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    return [block.model_dump(), hashes]
