"""What a run must reach."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic.config import JsonDict

from squeeze.core import tasks
from squeeze.recipe.schema.base import Block, Count, Fraction, NonNegative, Positive

OnNotMeasurable = Literal["warn", "fail"]
OnInconclusive = Literal["warn", "fail", "pass"]
Confidence = Annotated[float, Field(ge=0.5, lt=1)]
_NO_LIMITS = {"metric", "target", "on_not_measurable", "confidence", "on_inconclusive"}

UNKNOWN_METRIC = "unknown_metric"
"""The type of pydantic's error for a gate with a metric that no task has."""


def _list_metrics_(schema: JsonDict) -> None:
    """Put the metrics of all tasks into the published schema."""
    schema["enum"] = list(tasks.accuracy_metrics())


class LimitedGate(Block):
    """A gate of which at least one limit must be given."""

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        limits = sorted(set(type(self).model_fields) - _NO_LIMITS)
        if all(getattr(self, limit) is None for limit in limits):
            raise ValueError(f"has no limit, allowed: {', '.join(limits)}")
        return self


class AccuracyGate(LimitedGate):
    """Accuracy of the file in its runtime, on the whole validation set.

    Attributes:
        metric: ``top1`` and ``top5`` for classification; COCO's mAP (``map``) and ``ap50`` for
            detection.
        target: Name of the target to judge; every measured target when left out.
        max_drop: Largest allowed loss against the baseline on the same samples, absolute (0.01 is
            one percentage point).
        min: Smallest allowed value, as a share: 0.9 is 90 %.
        confidence: Of the interval that must lie within the limit for a pass, or beyond it for a
            failure; the recipe's when left out.
        on_inconclusive: What to do where the interval holds the limit: warn, fail the run, or pass
            without a word; the recipe's when left out.
    """

    metric: Annotated[str, Field(json_schema_extra=_list_metrics_)]
    target: str | None = None
    max_drop: NonNegative | None = None
    min: Fraction | None = None
    confidence: Confidence | None = None
    on_inconclusive: OnInconclusive | None = None


class AgreementGate(Block):
    """How often candidate and baseline predict the same.

    Attributes:
        metric: The figure that is judged: the share of samples on which both predict the same
            class. For detection: the share of the baseline's detections (score 0.3 and more) that
            the candidate has too, of the same class and with an IoU of 0.5 and more.
        target: Name of the target to judge; every measured target when left out.
        min: Smallest allowed share.
        confidence: Of the interval that must lie within the limit for a pass, or beyond it for a
            failure; the recipe's when left out.
        on_inconclusive: What to do where the interval holds the limit: warn, fail the run, or pass
            without a word; the recipe's when left out.
    """

    metric: Literal["agreement"]
    target: str | None = None
    min: Fraction
    confidence: Confidence | None = None
    on_inconclusive: OnInconclusive | None = None


class LatencyGate(LimitedGate):
    """The time that an application waits; for detectors with decoding and suppression.

    Attributes:
        metric: The figure that is judged: seconds of one call.
        target: Name of the target to judge; every measured target when left out.
        on_not_measurable: What to do where this host's processor differs from the target's ``cpu``:
            report that the gate is not measurable here, or fail it.
        min_speedup: Smallest allowed ratio of the baseline's latency to the candidate's, as
            measured.
        max_latency_s: Largest allowed median, in seconds; it has no interval.
        confidence: Of the speed-up's interval that must lie within the limit for a pass, or beyond
            it for a failure; the recipe's when left out.
        on_inconclusive: What to do where the interval holds the limit: warn, fail the run, or pass
            without a word; the recipe's when left out.
    """

    metric: Literal["latency"]
    target: str | None = None
    on_not_measurable: OnNotMeasurable = "warn"
    min_speedup: Positive | None = None
    max_latency_s: Positive | None = None
    confidence: Confidence | None = None
    on_inconclusive: OnInconclusive | None = None


class SizeGate(LimitedGate):
    """Bytes of the shipped file.

    Attributes:
        metric: The figure that is judged.
        target: Name of the target to judge; every measured target when left out.
        max_bytes: Largest allowed size, in bytes.
        min_reduction: Smallest allowed ratio of the baseline's size to the candidate's.
    """

    metric: Literal["size"]
    target: str | None = None
    max_bytes: Count | None = None
    min_reduction: Positive | None = None


class CostGate(LimitedGate):
    """Cost of the torch module, which is the same on every target.

    Attributes:
        metric: ``macs``: multiply-adds of one image, a multiply and its add counting as one;
            ``params``: number of weights.
        max: Largest allowed count.
        min_reduction: Smallest allowed ratio of the baseline's count to the candidate's.
    """

    metric: Literal["macs", "params"]
    max: Count | None = None
    min_reduction: Positive | None = None


class CoverageGate(Block):
    """Share of convolutions and matrix products that run in int8 kernels.

    Attributes:
        metric: The figure that is judged.
        target: Name of the target to judge; every measured target when left out.
        on_not_measurable: As for a latency gate.
        min: Smallest allowed share.
    """

    metric: Literal["int8_coverage"]
    target: str | None = None
    on_not_measurable: OnNotMeasurable = "warn"
    min: Fraction


_KIND_OF = {
    "agreement": "AgreementGate",
    "latency": "LatencyGate",
    "size": "SizeGate",
    "macs": "CostGate",
    "params": "CostGate",
    "int8_coverage": "CoverageGate",
}


def _kind(gate: object) -> str | None:
    """Return which gate has this metric; None for a metric that no task has."""
    metric = gate.get("metric") if isinstance(gate, dict) else getattr(gate, "metric", None)
    if not isinstance(metric, str):
        return None
    accuracy = "AccuracyGate" if metric in tasks.accuracy_metrics() else None
    return _KIND_OF.get(metric, accuracy)


Gate = Annotated[
    Annotated[AccuracyGate, Tag("AccuracyGate")]
    | Annotated[AgreementGate, Tag("AgreementGate")]
    | Annotated[LatencyGate, Tag("LatencyGate")]
    | Annotated[SizeGate, Tag("SizeGate")]
    | Annotated[CostGate, Tag("CostGate")]
    | Annotated[CoverageGate, Tag("CoverageGate")],
    Discriminator(
        _kind,
        custom_error_type=UNKNOWN_METRIC,
        custom_error_message="unknown metric",
        custom_error_context={"discriminator": "metric"},
    ),
]
