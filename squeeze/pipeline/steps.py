"""A step has a key, a hash of all that decides its outcome; equal runs share the outcome.

Outcomes are frozen: a step reads those of the steps before it and writes into none of them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import ValidationError

from squeeze._version import __version__
from squeeze.recipe.schema import Block, Recipe
from squeeze.store import RunFolder, key_of, outcomes

if TYPE_CHECKING:
    from squeeze.core.types import Progress
    from squeeze.data.sets import Data
    from squeeze.tasks.base import Task

_OUTCOMES = 1
"""Raised when the outcomes below change, so that those of earlier versions are not reused."""

Result = TypeVar("Result", bound=Block)


@dataclass(frozen=True)
class RunContext:
    """What every step may use.

    Attributes:
        recipe: With the input as it is known once the data is open.
        base: Where its relative paths start.
        data: Opened and checked.
        task: Reads the outputs of the recipe's model.
        folder: Of the run.
        progress: Where bars and narration go.
        fresh: Reuse nothing of earlier runs.
        remeasure: Reuse no measurement of earlier runs.
    """

    recipe: Recipe
    base: Path
    data: "Data"
    task: "Task"
    folder: RunFolder
    progress: "Progress"
    fresh: bool = False
    remeasure: bool = False


@dataclass(frozen=True)
class Step(Generic[Result]):
    """A piece of work that leaves a record and files.

    Attributes:
        name: For the log and for the name of the record.
        key: From ``step_key``.
        result: The class of the record, which is read back to it.
        work: Does it.
        files: What ``work`` leaves in the run's folder: files, or folders of files.
    """

    name: str
    key: str
    result: type[Result]
    work: Callable[[], Result]
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What a step gave.

    Attributes:
        key: The step's.
        result: Its record.
        seconds: How long it took when it was done.
        reused_from: The earlier run that did it; None if this one did.
    """

    key: str
    result: Result
    seconds: float
    reused_from: str | None = None


def step_key(kind: str, *parts: object) -> str:
    """Return the key of a step.

    Args:
        kind: What it does.
        parts: Plain data: the keys of the steps before it, its settings, versions of libraries.
    """
    return key_of(kind, __version__, _OUTCOMES, parts)


def perform(
    step: Step[Result],
    context: RunContext,
    *,
    redo: bool = False,
    describe: Callable[[Result], str] = lambda _: "",
) -> Outcome[Result]:
    """Return the outcome of a step: this run's, an earlier run's, or a new one.

    Args:
        step: What to do.
        context: Of the run.
        redo: Take nothing from earlier runs, as with ``context.fresh``.
        describe: Returns what to add to the log's line about a reused outcome.
    """
    folder, progress = context.folder, context.progress
    earlier = not (redo or context.fresh)
    stored = outcomes.find(folder, step.name, step.key, progress.warn, earlier=earlier)
    if stored is not None:
        try:
            result = step.result.model_validate(stored.record["result"])
        except ValidationError:
            progress.warn(f"{step.name}: the record of run {stored.run} cannot be read")
        else:
            reused = None if stored.run == folder.path.name else stored.run
            if stored.new:
                progress.say(f"{step.name}: reused from run {reused}{describe(result)}")
            return Outcome(step.key, result, stored.record["seconds"], reused)
    started = time.perf_counter()
    result = step.work()
    seconds = time.perf_counter() - started
    record = outcomes.StepRecord(result=result.model_dump(mode="json"), seconds=seconds)
    outcomes.keep(folder, step.name, step.key, record, step.files)
    return Outcome(step.key, result, seconds)
