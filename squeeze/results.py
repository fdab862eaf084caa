"""The record of a run, version 1: ``results.json``, from which every report is rendered.

Measurements write these blocks and reports read them; neither knows the other. Units are in the
names; a multiply-add counts as one MAC; intervals are 95 %.
"""

from typing import Any, Literal

from pydantic import Field

from squeeze.recipe.schema import Block


class Estimate(Block):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class Accuracy(Block):
    """Shares of samples whose label is the best, or among the best five, predictions."""

    samples: int
    top1: Estimate
    top5: Estimate


class Change(Block):
    """Against the baseline in the same runtime, on the same samples.

    Attributes:
        drop: Top-1 of the baseline minus top-1 here, with the paired interval.
        top5_drop: The same for top-5.
        agreement: Share of samples on which both predict the same class.
        broken: Samples that only the baseline has right.
        mended: Samples that only this state has right.
    """

    drop: Estimate
    top5_drop: float
    agreement: float
    broken: int
    mended: int


AccuracyBlock = Accuracy
ChangeBlock = Change


class Latency(Block):
    """Seconds per call, measured in turns with all other states of the target.

    Attributes:
        noisy: The interquartile range is more than 10 % of the median.
        raw_s: Every timed call, in order.
    """

    median_s: float
    p95_s: float
    iqr_s: float
    calls: int
    rounds: int
    noisy: bool
    raw_s: tuple[float, ...]


class FloatKernel(Block):
    """A convolution or matrix product that runs in float."""

    name: str
    op: str
    reason: str


class KernelCoverage(Block):
    """What the runtime really runs; see ``squeeze.runtimes.base.Coverage``."""

    int8: int
    total: int
    convolutions_int8: int
    convolutions: int
    survivors: tuple[FloatKernel, ...]
    conversions: dict[str, int]


class Parity(Block):
    """Float file against torch on real samples; int8 files are judged by agreement instead.

    Attributes:
        max_difference: Largest absolute difference of an output.
        scale: Largest absolute output, to compare with.
        same_class: Share of the samples with the same prediction.
    """

    samples: int
    max_difference: float
    scale: float
    same_class: float


class Row(Block):
    """One model state on one target.

    Attributes:
        skipped: Why nothing was measured; then the figures are None.
        speedup: Baseline latency divided by this one, pair by pair.
        peak_memory_bytes: Resident memory that a fresh process gained by loading and running it.
    """

    state: str
    target: str
    runtime: str
    device: str
    precision: str
    threads: int
    batch_size: int
    skipped: str | None = None
    artifact: str | None = None
    size_bytes: int | None = None
    accuracy: Accuracy | None = None
    change: Change | None = None
    latency: Latency | None = None
    speedup: Estimate | None = None
    coverage: KernelCoverage | None = None
    parity: Parity | None = None
    peak_memory_bytes: int | None = None


class EpochRecord(Block):
    """One epoch of training.

    Attributes:
        loss: Mean over the training samples.
        score: The task's metric (top-1) on validation, in torch.
        seconds: Training and validation together.
        images_per_s: Training only.
        data_wait: Share of the training's time in which it waited for data, [0, 1].
        kept: Whether the model left behind is the one of this epoch.
    """

    loss: float
    score: float
    seconds: float
    images_per_s: float = 0.0
    data_wait: float = 0.0
    kept: bool = False


class Unmet(Block):
    """An aim that a step could not reach, and the best that it found; fails the run's gates."""

    aim: str
    limit: str
    found: str


class State(Block):
    """The model after a step.

    Attributes:
        name: ``baseline`` or ``<n>-<method>``.
        params: Parameters of the torch module.
        macs: Multiply-adds of one image.
        seconds: How long the step took.
        reused_from: The earlier run whose result was taken over.
        unmet: An aim that the step missed; the model is the best that it found.
    """

    name: str
    method: str
    params: int
    macs: int
    seconds: float
    notes: tuple[str, ...] = ()
    epochs: tuple[EpochRecord, ...] = ()
    reused_from: str | None = None
    bundle: str | None = None
    unmet: Unmet | None = None


class GateResult(Block):
    """One gate on one row."""

    gate: str
    target: str | None
    limit: str
    found: str
    passed: bool
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


class Results(Block):
    """The whole run."""

    version: Literal[1] = 1
    squeeze: str
    name: str
    id: str
    started: str
    seconds: float
    command: str
    recipe: dict[str, Any]
    environment: dict[str, Any]
    data: tuple[DataRecord, ...]
    states: tuple[State, ...]
    rows: tuple[Row, ...]
    gates: tuple[GateResult, ...] = ()
    pictures: tuple[Picture, ...] = ()
    warnings: tuple[str, ...] = ()
    stages_s: dict[str, float] = Field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether no gate failed."""
        return all(gate.passed for gate in self.gates)
