"""The record of a run, version 2: ``results.json``, from which every report is rendered.

Measurements write these blocks and reports read them; neither knows the other. Units are in the
names; a multiply-add counts as one MAC; intervals are 95 %.
"""

from typing import Literal

from pydantic import Field

from squeeze.core import tasks
from squeeze.recipe.schema import Block
from squeeze.results.accuracy import (
    AccuracyBlock,
    ChangeBlock,
    ClassChange,
    ClassificationAccuracy,
    ClassificationChange,
    ClassificationPicture,
    ClassPrecision,
    ConfusionChange,
    DetectionAccuracy,
    DetectionChange,
    DetectionPicture,
    Estimate,
    PictureBlock,
)
from squeeze.results.models import (
    Epoch,
    LayerSensitivity,
    MissedGoal,
    MixedPrecisionSearch,
    MixedPrecisionTrial,
    ModelRecord,
)
from squeeze.results.rows import (
    AuditedNode,
    KernelCoverage,
    Latency,
    LayerTime,
    Parity,
    Provenance,
    Row,
)

__all__ = [
    "AccuracyBlock",
    "AuditedNode",
    "ChangeBlock",
    "ClassChange",
    "ClassPrecision",
    "ClassificationAccuracy",
    "ClassificationChange",
    "ClassificationPicture",
    "ConfusionChange",
    "DataRecord",
    "DetectionAccuracy",
    "DetectionChange",
    "DetectionPicture",
    "Epoch",
    "Estimate",
    "GateResult",
    "KernelCoverage",
    "Latency",
    "LayerSensitivity",
    "LayerTime",
    "MissedGoal",
    "MixedPrecisionSearch",
    "MixedPrecisionTrial",
    "ModelRecord",
    "Parity",
    "PictureBlock",
    "Provenance",
    "Results",
    "Row",
    "Verdict",
]


Verdict = Literal["pass", "fail", "inconclusive", "not_measurable"]


class GateResult(Block):
    """One gate on one row.

    Attributes:
        gate: The metric that was judged, or the goal that a step missed.
        target: The target's name; None for a gate that is the same on every target.
        model: The model that was judged; of a file that was not made, the one that is missing.
        limit: What was asked for, in words.
        found: What was measured, in words; with the interval where the figure has one.
        verdict: ``pass`` or ``fail``: of a figure with an interval, the whole interval lies within
            the limit, or beyond it. ``inconclusive``: the limit lies inside the interval.
            ``not_measurable``: another processor decides it than this host's. Where the recipe
            counts one of the last two as a pass or a failure, that is the verdict and the note
            says so.
        note: What the reader should know about it; empty if nothing.
    """

    gate: str
    target: str | None
    model: str
    limit: str
    found: str
    verdict: Verdict
    note: str = ""


class DataRecord(Block):
    """One set of samples.

    Attributes:
        role: ``train``, ``validation`` or ``calibration``.
        samples: Number of samples.
        fingerprint: Hash of its contents.
        notes: What was noticed while reading it.
    """

    role: str
    samples: int
    fingerprint: str
    notes: tuple[str, ...] = ()


class Results(Block):
    """The whole run.

    Attributes:
        version: Version of this format.
        squeeze: Version of squeeze.
        name: The recipe's name.
        id: The run folder's name below it.
        started: When the run began: ISO 8601 with the time zone.
        seconds: Duration of the whole run, in seconds.
        command: The command line.
        recipe: The recipe with every default filled in.
        environment: Machine, processor, versions of libraries.
        data: The sets.
        models: The baseline and the model after each step, in order.
        rows: Each model on each target.
        gates: Each gate on each row that it is about.
        pictures: Validation images on which baseline and final model differ.
        warnings: What the reader of the report must know.
        stages_s: Seconds by stage of the run.
    """

    version: Literal[2] = 2
    squeeze: str
    name: str
    id: str
    started: str
    seconds: float
    command: str
    recipe: dict[str, object]
    environment: dict[str, object]
    data: tuple[DataRecord, ...]
    models: tuple[ModelRecord, ...]
    rows: tuple[Row, ...]
    gates: tuple[GateResult, ...] = ()
    pictures: tuple[PictureBlock, ...] = ()
    warnings: tuple[str, ...] = ()
    stages_s: dict[str, float] = Field(default_factory=dict)

    @property
    def task(self) -> str:
        """The run's task."""
        return str(self.recipe.get("task", tasks.DEFAULT))

    @property
    def passed(self) -> bool:
        """Whether no gate failed."""
        return all(gate.verdict != "fail" for gate in self.gates)
