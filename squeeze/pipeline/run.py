"""The whole run, in order: data, baseline, steps, files, measurements, gates, report."""

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze._version import __version__
from squeeze.core.journal import Journal
from squeeze.core.types import Progress, Silent
from squeeze.data import splits as sources_data
from squeeze.measure import environment
from squeeze.measure.target import Bench, measure
from squeeze.pipeline import artifacts
from squeeze.pipeline.models import Steps, compress, computed_with
from squeeze.pipeline.opening import allowing_its_factories, opened, run_folder, with_input
from squeeze.recipe import plan
from squeeze.recipe.load import LoadedRecipe
from squeeze.recipe.schema import Recipe
from squeeze.report import gates, write
from squeeze.report.warnings import warnings
from squeeze.results import DataRecord, PictureBlock, Results, Row
from squeeze.store import RunFolder, scratch
from squeeze.tasks.base import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from squeeze.measure.evaluator import Predictions


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


@allowing_its_factories
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
    artifacts.check_targets(recipe)
    model, data, task = opened(loaded, progress)
    recipe = with_input(recipe, model)
    watch.lap("data")

    folder = closing.enter_context(run_folder(output, recipe.name, journal))
    steps = Steps(recipe, loaded.folder, data, task, folder, progress, fresh=fresh)
    write.recipe(recipe, loaded.folder, folder.path)
    states = compress(model, steps)
    folder.require(state.bundle for state in states)
    watch.lap("steps")

    shipped = artifacts.make(
        recipe, states, data.calibration, task, folder, progress, train=data.train
    )
    floats = [state.model for state in states if state.ranges is None]
    artifacts.end_at_boxes_(recipe, shipped, floats[-1], data.validation, progress)
    folder.require(c.path for made in shipped.candidates.values() for c in made)
    watch.lap("export and quantize")

    readers = {state.record.name: task.of(state.model.module) for state in states}
    bench = Bench(data.validation, task, progress, folder.path, readers)
    rows, seen = _measure(recipe, shipped, bench)
    artifacts.check_parity(rows)
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


@allowing_its_factories
def follow(loaded: LoadedRecipe, *, fresh: bool = False) -> None:
    """Take part in the trainings of a run that another process leads, and write nothing.

    Args:
        loaded: The same recipe.
        fresh: As in the leading process.

    Raises:
        SqueezeError: The leading process is gone.
    """
    plan.check(loaded)
    model, data, task = opened(loaded, Silent())
    recipe = with_input(loaded.recipe, model)
    with scratch() as place:
        folder = RunFolder.create(place, recipe.name)
        steps = Steps(recipe, loaded.folder, data, task, folder, Silent(), fresh=fresh)
        compress(model, steps)


def _measure(
    recipe: Recipe, shipped: artifacts.Shipped, bench: Bench
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
    found = environment.describe() | computed_with()
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
