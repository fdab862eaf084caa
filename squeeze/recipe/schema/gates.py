"""What a run must reach."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from squeeze.recipe.schema.base import Block, Count, Fraction, NonNegative, Positive

METRICS = {"classification": ("top1", "top5"), "detection": ("map", "ap50")}
"""What accuracy can be, by task."""


OnNotMeasurable = Literal["warn", "fail"]


class LimitedGate(Block):
    """A gate of which at least one limit must be given."""

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        limits = sorted(set(type(self).model_fields) - {"metric", "target", "on_not_measurable"})
        if all(getattr(self, limit) is None for limit in limits):
            raise ValueError(f"has no limit, allowed: {', '.join(limits)}")
        return self


class AccuracyGate(LimitedGate):
    """``max_drop`` is absolute (0.01 = one point), against the baseline on the same samples.

    ``top1`` and ``top5`` are of classification; COCO's mAP (``map``) and ``ap50`` of detection.
    """

    metric: Literal["top1", "top5", "map", "ap50"]
    target: str | None = None
    max_drop: NonNegative | None = None
    min: Fraction | None = None


class AgreementGate(Block):
    """Share of samples on which candidate and baseline predict the same class.

    Of detection: the share of the baseline's detections (score 0.3 and more) that the candidate has
    too: of the same class, with an IoU of 0.5 and more.
    """

    metric: Literal["agreement"]
    target: str | None = None
    min: Fraction


class LatencyGate(LimitedGate):
    """What an application waits for; of detectors with decoding and suppression.

    Attributes:
        min_speedup: The measured baseline/candidate ratio.
        max_latency_s: The median.
        on_not_measurable: What to do where the target's ``cpu`` is none that this host can stand
            for: say that the gate is not measurable here, or fail it.
    """

    metric: Literal["latency"]
    target: str | None = None
    on_not_measurable: OnNotMeasurable = "warn"
    min_speedup: Positive | None = None
    max_latency_s: Positive | None = None


class SizeGate(LimitedGate):
    """Bytes of the shipped file."""

    metric: Literal["size"]
    target: str | None = None
    max_bytes: Count | None = None
    min_reduction: Positive | None = None


class CostGate(LimitedGate):
    """``min_reduction`` is baseline/candidate; multiply-add counts as one MAC."""

    metric: Literal["macs", "params"]
    max: Count | None = None
    min_reduction: Positive | None = None


class CoverageGate(Block):
    """Share of convolutions and matrix products that run in int8 kernels.

    Attributes:
        on_not_measurable: As of a latency gate.
    """

    metric: Literal["int8_coverage"]
    target: str | None = None
    on_not_measurable: OnNotMeasurable = "warn"
    min: Fraction


Gate = Annotated[
    AccuracyGate | AgreementGate | LatencyGate | SizeGate | CostGate | CoverageGate,
    Field(discriminator="metric"),
]
