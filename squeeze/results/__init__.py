"""The record of a run, version 2: ``results.json``, from which every report is rendered.

Measurements write these blocks and reports read them; neither knows the other. Units are in the
names; a multiply-add counts as one MAC; intervals are 95 %.
"""

from typing import Any, Literal

from pydantic import Field

from squeeze.recipe.schema import Block
from squeeze.results.accuracy import (
    Accuracy,
    AccuracyBlock,
    Change,
    ChangeBlock,
    ClassPrecision,
    DetectionAccuracy,
    DetectionChange,
    Estimate,
)
from squeeze.results.models import (
    Epoch,
    LayerSensitivity,
    MissedGoal,
    MixedPrecisionSearch,
    MixedPrecisionTrial,
    ModelRecord,
)
from squeeze.results.rows import AuditedNode, KernelCoverage, Latency, LayerTime, Parity, Row

__all__ = [
    "Accuracy",
    "AccuracyBlock",
    "AuditedNode",
    "Change",
    "ChangeBlock",
    "ClassPrecision",
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
    "Picture",
    "PictureBlock",
    "Results",
    "Row",
]


class GateResult(Block):
    """One gate on one row.

    Attributes:
        model: The state that was judged; of a file that was not made, the one that is missing.
        passed: None where this host cannot tell and the recipe does not fail for that.
    """

    gate: str
    target: str | None
    model: str
    limit: str
    found: str
    passed: bool | None
    note: str = ""


class DataRecord(Block):
    """One set: how many samples, the hash of its contents, what was noticed."""

    role: str
    samples: int
    fingerprint: str
    notes: tuple[str, ...] = ()


class Picture(Block):
    """A validation image that the final model gets wrong and the baseline right, or the reverse.

    Attributes:
        png: Base64.
    """

    name: str
    label: str
    baseline: str
    candidate: str
    png: str


class DetectionPicture(Block):
    """A validation image on which baseline and final model find different objects.

    Attributes:
        objects: Annotated boxes.
        baseline: What it has right, wrong and missed.
        candidate: The same of the final model.
        png: Base64: the baseline's detections and the final model's, side by side.
    """

    name: str
    objects: int
    baseline: str
    candidate: str
    png: str


PictureBlock = Picture | DetectionPicture


class Results(Block):
    """The whole run."""

    version: Literal[2] = 2
    squeeze: str
    name: str
    id: str
    started: str
    seconds: float
    command: str
    recipe: dict[str, Any]
    environment: dict[str, Any]
    data: tuple[DataRecord, ...]
    models: tuple[ModelRecord, ...]
    rows: tuple[Row, ...]
    gates: tuple[GateResult, ...] = ()
    pictures: tuple[PictureBlock, ...] = ()
    warnings: tuple[str, ...] = ()
    stages_s: dict[str, float] = Field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether no gate failed."""
        return all(gate.passed is not False for gate in self.gates)
