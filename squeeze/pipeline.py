"""The whole run, in order: data, baseline, steps, files, measurements, gates, report."""

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from squeeze import compress, files
from squeeze._version import __version__
from squeeze.core import permission
from squeeze.core.errors import InputError, unknown_name
from squeeze.core.journal import Journal
from squeeze.core.types import Progress, Silent
from squeeze.data import splits as sources_data
from squeeze.measure import environment
from squeeze.measure.target import Bench, measure
from squeeze.models import factory
from squeeze.quantization.mixed_precision import layers
from squeeze.recipe import bundles, plan
from squeeze.recipe.load import LoadedRecipe
from squeeze.recipe.schema import (
    DistillStep,
    PruneStep,
    QatStep,
    Quantization,
    QuantizeStep,
    Recipe,
    TrainSettings,
)
from squeeze.report import gates, write
from squeeze.report.warnings import warnings
from squeeze.results import DataRecord, Epoch, PictureBlock, Results, Row
from squeeze.store import LOG, RunFolder, scratch, start_or_take_up
from squeeze.tasks import nms_file, open_task
from squeeze.tasks.base import Task
from squeeze.training import distributed, parameters
from squeeze.training.checkpoint import Checkpoints
from squeeze.training.preview import contact_sheet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL.Image import Image

    from squeeze.measure.evaluator import Predictions

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class StageTimes:
    """Seconds by stage, and the stage that runs now."""

    stages_s: dict[str, float] = field(default_factory=dict)
    _started: float = field(default_factory=time.perf_counter)

    def lap(self, stage: str) -> None:
        """Book the time since the last lap on a stage."""
        now = time.perf_counter()
        self.stages_s[stage] = self.stages_s.get(stage, 0.0) + now - self._started
        self._started = now


def _allowing_its_factories(
    stage: "Callable[Concatenate[LoadedRecipe, P], R]",
) -> "Callable[Concatenate[LoadedRecipe, P], R]":
    """Let the bundles of a run call the factories that its recipe names."""

    @wraps(stage)
    def inside(loaded: LoadedRecipe, /, *args: "P.args", **kwargs: "P.kwargs") -> "R":
        with permission.allowing(bundles.factories(loaded), loaded.folder):
            return stage(loaded, *args, **kwargs)

    return inside


@_allowing_its_factories
def run(
    loaded: LoadedRecipe,
    *,
    output: Path = Path("runs"),
    progress: Progress | None = None,
    command: str = "",
    fresh: bool = False,
) -> tuple[Results, RunFolder]:
    """Run a recipe from its data to its report.

    Args:
        loaded: A recipe from ``load_recipe``.
        output: The run's folder is made as ``<output>/<recipe name>/<time>/``.
        progress: Where bars and narration go.
        command: Recorded in the report.
        fresh: Compute every step anew instead of reusing those of earlier equal runs.

    Returns:
        The record, and the folder that holds bundles, files and reports.

    Raises:
        InputError: Something the user gave is wrong; nothing was written.
        SqueezeError: A step failed; finished steps are kept and reused by the next run.
    """
    with ExitStack() as closing:
        journal = Journal(progress or Silent())
        return _run(loaded, output, closing, journal=journal, command=command, fresh=fresh)


def _run(
    loaded: LoadedRecipe,
    output: Path,
    closing: ExitStack,
    *,
    journal: Journal,
    command: str,
    fresh: bool,
) -> tuple[Results, RunFolder]:
    """Run a recipe; what is open at the end, whatever the end, is closed by ``closing``."""
    recipe, progress = loaded.recipe, journal
    started, watch = datetime.now(UTC), StageTimes()
    plan.check(loaded)
    files.check_targets(recipe)
    model, data, task = _opened(loaded, progress)
    recipe = _with_input(recipe, model)
    watch.lap("data")

    folder = closing.enter_context(_run_folder(output, recipe.name, journal))
    steps = compress.Steps(recipe, loaded.folder, data, task, folder, progress, fresh=fresh)
    write.recipe(recipe, loaded.folder, folder.path)
    states = compress.compress(model, steps)
    folder.require(state.bundle for state in states)
    watch.lap("steps")

    shipped = files.make(recipe, states, data.calibration, task, folder, progress, train=data.train)
    floats = [state.model for state in states if state.ranges is None]
    files.end_at_boxes_(recipe, shipped, floats[-1], data.validation, progress)
    folder.require(c.path for made in shipped.candidates.values() for c in made)
    watch.lap("export and quantize")

    readers = {state.record.name: task.of(state.model.module) for state in states}
    bench = Bench(data.validation, task, progress, folder.path, readers)
    rows, seen = _measure(recipe, shipped, bench)
    files.check_parity(rows)
    watch.lap("measure")

    records = (*(s.record for s in states if s.ranges is None), *shipped.records)
    results = Results(
        squeeze=__version__,
        name=recipe.name,
        id=folder.path.name,
        started=started.isoformat(timespec="seconds"),
        seconds=(datetime.now(UTC) - started).total_seconds(),
        command=command,
        recipe=recipe.model_dump(mode="json", by_alias=True),
        environment=_environment(recipe),
        data=_data_records(data),
        models=records,
        rows=tuple(rows),
        gates=tuple(gates.decide(recipe.gates, rows, records)),
        pictures=tuple(_changed(seen, task, data.validation)),
        warnings=(*warnings(rows, _noticed(data)), *journal.warnings),
        stages_s=watch.stages_s,
    )
    folder.require()
    progress.say("writing the report")
    write.everything(results, folder.path)
    folder.write_sums()
    return results, folder


@contextmanager
def _run_folder(output: Path, name: str, journal: Journal) -> "Iterator[RunFolder]":
    """Make a run's folder and keep its log for the time of the block.

    What ends the block is logged. A folder in which nothing was finished goes, unless something
    failed that the log explains.

    Raises:
        SqueezeError: The folder was removed meanwhile.
    """
    folder = RunFolder.create(output, name)
    try:
        journal.open(folder.path / LOG)
        yield folder
    except BaseException as error:
        journal.failed(error)
        if isinstance(error, InputError | KeyboardInterrupt):
            folder.discard_if_empty()
        elif isinstance(error, Exception):
            folder.require()  # or that is why it failed
        raise
    finally:
        journal.close()
        folder.release()


@_allowing_its_factories
def follow(loaded: LoadedRecipe, *, fresh: bool = False) -> None:
    """Take part in the trainings of a run that another process leads, and write nothing.

    Args:
        loaded: The same recipe.
        fresh: As in the leading process.

    Raises:
        SqueezeError: The leading process is gone.
    """
    plan.check(loaded)
    model, data, task = _opened(loaded, Silent())
    recipe = _with_input(loaded.recipe, model)
    with scratch() as place:
        folder = RunFolder.create(place, recipe.name)
        steps = compress.Steps(recipe, loaded.folder, data, task, folder, Silent(), fresh=fresh)
        compress.compress(model, steps)


def _opened(
    loaded: LoadedRecipe, progress: Progress
) -> tuple[factory.Model, sources_data.Data, Task]:
    """Open the model and the data, and make sure that they fit."""
    for number, step in enumerate(loaded.recipe.steps):
        if distributed.size() > 1 and isinstance(step, PruneStep) and step.speedup is not None:
            raise InputError(
                "prunes by measured latency, which needs the machine for itself",
                where=f"steps.{number}.speedup",
                hint="run it in one process, or ask for macs, params or size",
            )
    model = _built(loaded)
    for note in model.notes:
        progress.say(note)
    data = open_data(loaded, model, progress)
    model = model.fed(data.validation.spec).knowing(data.classes)
    task = open_task(loaded.recipe.task, model.input)
    task.check_model(model.module, model.input, len(data.classes))
    if any(target.nms for target in loaded.recipe.targets):
        nms_file.spec_of(model)
    _check_layers(loaded.recipe, model)
    return model, data, task.of(model.module)


def _built(loaded: LoadedRecipe) -> factory.Model:
    """Build the model; random weights are drawn by the recipe's seed."""
    import torch

    torch.manual_seed(loaded.recipe.seed)
    return factory.build(loaded.recipe.model, loaded.folder)


def _with_input(recipe: Recipe, model: factory.Model) -> Recipe:
    """Return the recipe with the input as it is now known, in full."""
    block = recipe.model.model_copy(update={"input": model.input})
    return recipe.model_copy(update={"model": block})


def _check_layers(recipe: Recipe, model: factory.Model) -> None:
    """Refuse patterns that name no layer before anything is trained."""
    if recipe.baseline is not None:
        _check_training(recipe.baseline.train, model, "baseline.train")
    rewritten = False
    for number, step in enumerate(recipe.steps):
        if isinstance(step, DistillStep) and step.student is not None:
            return  # the layers are going to be another model's
        if isinstance(step, QuantizeStep | QatStep):
            layers.matching(model.module, step.keep_float, where=f"steps.{number}.keep_float")
        rewritten |= isinstance(step, PruneStep)  # whose adapters may give layers other paths
        if isinstance(step, TrainSettings) and not rewritten:
            _check_training(step, model, f"steps.{number}")


def _check_training(settings: TrainSettings, model: factory.Model, where: str) -> None:
    for key in ("freeze", "lr_scales"):
        parameters.matching(model.module, list(getattr(settings, key)), f"{where}.{key}")


def open_data(loaded: LoadedRecipe, model: factory.Model, progress: Progress) -> sources_data.Data:
    """Open the sets that the recipe needs."""
    recipe = loaded.recipe
    trains = recipe.baseline is not None or any(
        isinstance(step, DistillStep | PruneStep | QatStep)
        or (isinstance(step, QuantizeStep) and step.mixed_precision is not None)
        for step in recipe.steps
    )
    calibrates = any(isinstance(step, Quantization) for step in recipe.steps)
    opening = sources_data.Opening(
        loaded.folder,
        model.input,
        recipe.seed,
        progress,
        model.module,
        model.architecture.classes,
    )
    return sources_data.open_data(recipe.data, opening, trains=trains, calibrates=calibrates)


def _measure(
    recipe: Recipe, shipped: files.Shipped, bench: Bench
) -> "tuple[list[Row], dict[str, Predictions]]":
    """Measure every target; return the rows and the predictions of the first target."""
    rows: list[Row] = []
    first: dict[str, Predictions] = {}
    for target in recipe.targets:
        for batch_size in target.batch_sizes:
            candidates = shipped.candidates.get((target.label, batch_size), [])
            if candidates:
                measured, predictions = measure(target, batch_size, candidates, bench)
                rows += measured
                first = first or predictions
    return [*rows, *shipped.skipped], first


def _changed(
    seen: "dict[str, Predictions]", task: Task, validation: sources_data.Split
) -> "Iterator[PictureBlock]":
    """Yield the images on which the first and the last state differ."""
    states = list(seen)
    if len(states) > 1:
        yield from task.changed(seen[states[0]], seen[states[-1]], validation)


def _environment(recipe: Recipe) -> dict[str, object]:
    found = environment.describe() | compress.computed_with()
    if any(target.device == "cuda" for target in recipe.targets):
        found["cuda_device"] = environment.cuda_device()
    return found


def _noticed(data: sources_data.Data) -> list[str]:
    splits = (data.train, data.calibration, data.validation)
    return list(dict.fromkeys(note for split in splits if split for note in split.notes))


def _data_records(data: sources_data.Data) -> tuple[DataRecord, ...]:
    splits = {"train": data.train, "calibration": data.calibration, "validation": data.validation}
    return tuple(
        DataRecord(role=role, samples=len(split), fingerprint=split.fingerprint, notes=split.notes)
        for role, split in splits.items()
        if split is not None
    )


def trainings(recipe: Recipe) -> dict[str, TrainSettings]:
    """Return every training of a recipe by its state's name."""
    found = {} if recipe.baseline is None else {compress.BASELINE: recipe.baseline.train}
    for number, step in enumerate(recipe.steps, start=1):
        settings = (
            step if isinstance(step, DistillStep | QatStep) else getattr(step, "finetune", None)
        )
        if settings is not None:
            found[f"{number}-{step.method}"] = settings
    return found


def preview(loaded: LoadedRecipe, training: str | None, images: int, progress: Progress) -> "Image":
    """Draw the first images of a training; the first training of the recipe when None.

    Raises:
        InputError: The recipe has no such training, or trains nothing.
    """
    recipe = loaded.recipe
    known = trainings(recipe)
    if training not in {None, *known} or not known:
        what = unknown_name("training", training, known) if known and training else "trains nothing"
        raise InputError(what, where=recipe.name)
    model = factory.build(recipe.model, loaded.folder)
    data = open_data(loaded, model, progress)
    if data.train is None:
        raise InputError("has no data.train", where=recipe.name)
    settings = known[training or next(iter(known))]
    return contact_sheet(data.train, settings, seed=recipe.seed, images=images)


def train_baseline(
    loaded: LoadedRecipe, progress: Progress, unfinished: Path
) -> tuple[factory.Model, list[Epoch]]:
    """Train a recipe's baseline and nothing else; return it with its epochs.

    Args:
        loaded: A recipe with a ``baseline.train`` block.
        progress: Where bars and narration go.
        unfinished: Folder of the checkpoints, which the same training goes on from after a kill.

    Raises:
        InputError: The recipe trains no baseline, or another training is using the folder.
    """
    if loaded.recipe.baseline is None:
        raise InputError(
            "has no 'baseline: {train: …}' block, so there is nothing to train",
            where=loaded.recipe.name,
        )
    settings = loaded.recipe.baseline.train
    model, data, task = _opened(loaded, progress)
    recipe = _with_input(loaded.recipe, model)
    steps = compress.Steps(recipe, loaded.folder, data, task, RunFolder(Path()), progress)
    key = compress.baseline_key(model, steps)
    steps.checkpoints.append(Checkpoints(start_or_take_up(unfinished, key), key))
    return compress.train_baseline(model, settings, steps)
