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

    @property
    def headline(self) -> tuple[str, Estimate]:
        """The figure that stands for all, with its name."""
        return "top-1", self.top1

    @property
    def figures(self) -> dict[str, Estimate]:
        """All that has an interval, by name."""
        return {"top-1": self.top1, "top-5": self.top5}

    def figure(self, metric: str) -> float | None:
        """Return what a gate's metric means here; None for a metric of another task."""
        return {"top1": self.top1.value, "top5": self.top5.value}.get(metric)


class ClassPrecision(Block):
    """Average precision of one class of objects; None where the set has no box of it.

    Attributes:
        boxes: How many there are.
        ap: Mean over IoU 0.5, 0.55, … 0.95.
        ap50: At IoU 0.5.
        curve: Precision at the recalls 0, 0.01, … 1 for IoU 0.5.
    """

    name: str
    boxes: int
    ap: float | None
    ap50: float | None
    curve: tuple[float, ...]


class DetectionAccuracy(Block):
    """COCO's average precisions, on pictures of their own size.

    Attributes:
        map: Mean over classes and over IoU 0.5, 0.55, … 0.95; intervals by drawing images.
        ap50: At IoU 0.5.
        small: mAP of boxes below 32² pixels; None without any.
        medium: From 32² to 96².
        large: Above 96².
        recall: Of the best 100 detections per image, mean over the same thresholds.
        voc_ap50: Mean over classes of VOC's AP at IoU 0.5.
    """

    samples: int
    boxes: int
    map: Estimate
    ap50: Estimate
    ap75: float
    small: float | None
    medium: float | None
    large: float | None
    recall: float
    voc_ap50: float
    per_class: tuple[ClassPrecision, ...]

    @property
    def headline(self) -> tuple[str, Estimate]:
        """The figure that stands for all, with its name."""
        return "mAP", self.map

    @property
    def figures(self) -> dict[str, Estimate]:
        """All that has an interval, by name."""
        return {"mAP": self.map, "AP50": self.ap50}

    def figure(self, metric: str) -> float | None:
        """Return what a gate's metric means here; None for a metric of another task."""
        return {"map": self.map.value, "ap50": self.ap50.value}.get(metric)


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

    def drop_of(self, metric: str) -> Estimate | None:
        """Return the drop of a gate's metric; without a width where it has no interval."""
        if metric == "top5":
            return Estimate(value=self.top5_drop, low=self.top5_drop, high=self.top5_drop)
        return self.drop if metric == "top1" else None


class DetectionChange(Block):
    """Against the baseline in the same runtime, on the same images.

    Attributes:
        drop: mAP of the baseline minus mAP here; the interval is that of a paired bootstrap over
            images, by percentiles.
        ap50_drop: The same for AP50.
        agreement: Share of the baseline's detections of score 0.3 and more that this state has
            too: of the same class, score 0.3 and more, and an IoU of at least 0.5.
    """

    drop: Estimate
    ap50_drop: Estimate
    agreement: float

    def drop_of(self, metric: str) -> Estimate | None:
        """Return the drop of a gate's metric."""
        return {"map": self.drop, "ap50": self.ap50_drop}.get(metric)


AccuracyBlock = Accuracy | DetectionAccuracy
ChangeBlock = Change | DetectionChange


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
        decoded: Latency with decoding and suppression of boxes, of detectors.
        decoded_speedup: The ratio of those.
        peak_memory_bytes: Resident memory that a fresh process gained by loading and running it.
        made_for: The target's processor where it is not of the host's kind; the latency, speed-up
            and coverage are the host's.
    """

    state: str
    target: str
    runtime: str
    device: str
    made_for: str | None = None
    precision: str
    threads: int
    batch_size: int
    skipped: str | None = None
    artifact: str | None = None
    size_bytes: int | None = None
    accuracy: AccuracyBlock | None = None
    change: ChangeBlock | None = None
    latency: Latency | None = None
    speedup: Estimate | None = None
    decoded: Latency | None = None
    decoded_speedup: Estimate | None = None
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
    hint: str = "ask for less, raise max_ratio, or lower align"


class Sensitivity(Block):
    """What a layer loses when it alone is quantized.

    Attributes:
        layer: Its path in the module.
        sqnr_db: Signal-to-quantization-noise ratio of the model's output, in dB; at most 200.
    """

    layer: str
    sqnr_db: float


class Rung(Block):
    """One mixture of int8 and float that was tried.

    Attributes:
        layers: In float, besides those that the recipe keeps.
        drop: Loss of the ladder's metric against the float file, absolute; minus is a gain.
        latency_s: Median, taken in turns with the other rungs.
        speedup: Latency of the float file divided by this one, pair by pair.
        int8: Convolutions and matrix products in int8 kernels, of ``total``.
        chosen: Whether this is what ships.
    """

    layers: tuple[str, ...]
    drop: float
    latency_s: float
    speedup: Estimate
    size_bytes: int
    int8: int
    total: int
    chosen: bool


class Ladder(Block):
    """The search for the fewest layers in float that hold a limit, for one file.

    Attributes:
        metric: ``top1`` or ``agreement``.
        max_drop: The limit.
        samples: How many the loss was measured on.
        source: What these samples are; never the validation set.
        met: Whether the limit is held by what ships.
        float_latency_s: Median of the float file, taken in the same turns.
        ranking: All layers, worst first; empty where plain int8 holds the limit.
        rungs: By the number of layers in float.
    """

    target: str
    batch_size: int
    metric: str
    max_drop: float
    samples: int
    source: str
    met: bool
    float_latency_s: float
    ranking: tuple[Sensitivity, ...]
    rungs: tuple[Rung, ...]


class State(Block):
    """The model after a step.

    Attributes:
        name: ``baseline`` or ``<n>-<method>``.
        params: Parameters of the torch module.
        macs: Multiply-adds of one image.
        seconds: How long the step took.
        reused_from: The earlier run whose result was taken over.
        unmet: An aim that the step missed; the model is the best that it found.
        ladders: Of mixed precision, one per file.
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
    ladders: tuple[Ladder, ...] = ()


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
    pictures: tuple[PictureBlock, ...] = ()
    warnings: tuple[str, ...] = ()
    stages_s: dict[str, float] = Field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether no gate failed."""
        return all(gate.passed for gate in self.gates)
