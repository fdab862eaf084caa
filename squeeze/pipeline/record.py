"""The record of a run: what ``results.json`` holds."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from squeeze._version import __version__
from squeeze.measure import environment
from squeeze.pipeline.artifacts import Artifacts
from squeeze.pipeline.measurements import Measurements
from squeeze.pipeline.models import ModelState, computed_with
from squeeze.pipeline.steps import RunContext
from squeeze.recipe.schema import Recipe
from squeeze.report import gates
from squeeze.report.verdicts import IntervalRule
from squeeze.report.warnings import undecided, warnings
from squeeze.results import DataRecord, Results

if TYPE_CHECKING:
    from squeeze.data.sets import Data


@dataclass
class RunTimes:
    """When a run started, the seconds of its stages, and the stage that runs now."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    stages_s: dict[str, float] = field(default_factory=dict)
    _lap: float = field(default_factory=time.perf_counter)

    def lap(self, stage: str) -> None:
        """Add the time since the last lap to a stage."""
        now = time.perf_counter()
        self.stages_s[stage] = self.stages_s.get(stage, 0.0) + now - self._lap
        self._lap = now


def record(
    context: RunContext,
    states: Sequence[ModelState],
    made: Artifacts,
    measured: Measurements,
    *,
    warned: Sequence[str],
    times: RunTimes,
    command: str,
) -> Results:
    """Put the results of the stages together, and decide the gates.

    Args:
        context: Of the run.
        states: Of the torch module.
        made: The files.
        measured: Their figures.
        warned: Warnings of the run.
        times: Of the stages.
        command: That started the run.
    """
    recipe, rows = context.recipe, measured.rows
    records = (*(state.record for state in states if state.ships), *made.records)
    rule = IntervalRule(recipe.confidence, recipe.on_inconclusive)
    decided = gates.decide(recipe.gates, rows, records, rule)
    return Results(
        squeeze=__version__,
        name=recipe.name,
        id=context.folder.path.name,
        started=times.started.isoformat(timespec="seconds"),
        seconds=(datetime.now(UTC) - times.started).total_seconds(),
        command=command,
        recipe=recipe.model_dump(mode="json", by_alias=True),
        environment=_environment(recipe),
        data=_data_records(context.data),
        models=records,
        rows=rows,
        gates=tuple(decided),
        pictures=measured.pictures,
        warnings=(*warnings(rows, _noticed(context.data)), *undecided(decided), *warned),
        stages_s=times.stages_s,
    )


def _environment(recipe: Recipe) -> dict[str, object]:
    found = environment.describe() | computed_with()
    if any(target.device == "cuda" for target in recipe.targets):
        found["cuda_device"] = environment.cuda_device()
    return found


def _noticed(data: "Data") -> list[str]:
    splits = (data.train, data.calibration, data.validation)
    return list(dict.fromkeys(note for split in splits if split for note in split.notes))


def _data_records(data: "Data") -> tuple[DataRecord, ...]:
    splits = {"train": data.train, "calibration": data.calibration, "validation": data.validation}
    return tuple(
        DataRecord(role=role, samples=len(split), fingerprint=split.fingerprint, notes=split.notes)
        for role, split in splits.items()
        if split is not None
    )
