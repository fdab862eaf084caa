"""The prune step."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from squeeze.recipe.schema.base import Block, Count, Flag, NonNegative, Positive
from squeeze.recipe.schema.distill import LossBlock
from squeeze.recipe.schema.training import TrainSettings


class Speedup(Block):
    """A measured speed-up over the unpruned model to reach, in one runtime.

    Attributes:
        runtime: Runtime to time in (``squeeze list runtimes``).
        at_least: The unpruned model's latency divided by the pruned one's, 1.5 for example.
        threads: Threads inside one operator.
        batch_size: Images per call.
    """

    runtime: str
    at_least: Annotated[float, Field(strict=True, gt=1)]
    threads: Count = 1
    batch_size: Count = 1


class Cut(Block):
    """A cost to reach: as a ratio to the unpruned model's, or as an absolute limit.

    Attributes:
        times_fewer: The unpruned model's count divided by the pruned one's, 2 for example.
        at_most: Largest allowed count: multiply-adds, parameters or bytes.
    """

    times_fewer: Annotated[float, Field(strict=True, gt=1)] | None = None
    at_most: Count | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.times_fewer is None) == (self.at_most is None):
            raise ValueError("needs exactly one of: times_fewer, at_most")
        return self


class SparseTraining(TrainSettings):
    """Training that pushes the channels to be pruned towards zero before they are removed.

    Attributes:
        regularizer: Name of a regularizer (``squeeze list sparse``).
        strength: The regularizer's coefficient.
    """

    regularizer: str = "group_norm"
    strength: Positive = 1e-4


class SensitivitySettings(Block):
    """How ``ratios: {from_sensitivity: …}`` turns sensitivity curves into ratios.

    Attributes:
        max_drop: Largest loss of top-1 that pruning a group may cost by itself, absolute (0.02 is
            two percentage points).
        samples: Training samples that the curves are measured on.
    """

    max_drop: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.02
    samples: Count = 512


class SensitivityRatios(Block):
    """Per-group ratios that the step determines by measuring.

    Attributes:
        from_sensitivity: How curves become ratios; its defaults when only ``ratios:
            from_sensitivity`` is written.
    """

    from_sensitivity: SensitivitySettings = SensitivitySettings()


Ratio = Annotated[float, Field(strict=True, ge=0, lt=1)]


def _ratios_tag(value: object) -> str:
    if isinstance(value, SensitivityRatios):
        return "SensitivityRatios"
    return "SensitivityRatios" if isinstance(value, dict) and "from_sensitivity" in value else "map"


def expand_ratios(value: object) -> object:
    """Let ``from_sensitivity`` alone stand for its block with default settings."""
    return {"from_sensitivity": {}} if value == "from_sensitivity" else value


Ratios = Annotated[
    Annotated[SensitivityRatios, Tag("SensitivityRatios")]
    | Annotated[dict[str, Ratio], Tag("map")],
    Discriminator(_ratios_tag),
]


class PruneStep(Block):
    """Remove whole channels, everywhere they are coupled.

    One of ``pruning_ratio``, ``ratios``, ``speedup``, ``macs``, ``params`` and ``size`` says how
    much; ``ratios`` may be combined with ``pruning_ratio``, which then applies to all other layers.

    Attributes:
        method: The kind of step.
        pruning_ratio: Fraction of every prunable layer's channels to remove.
        ratios: Fractions by layer (patterns of module paths), or ``from_sensitivity``.
        speedup: Search the widths that reach a measured speed-up with the least loss of importance.
        macs: The same for a count of multiply-adds.
        params: The same for a count of parameters.
        size: The same for the size of the exported float file (``.onnx``), in bytes.
        importance: Name of a criterion (``squeeze list importance``).
        samples: Number of training samples for criteria that need data.
        ranking: With ratios: whether channels compete within their layer (``local``), with those of
            all layers (``global``), or with those of layers of the same structure
            (``isomorphic``).
        rounds: Number of equal pruning rounds, with fine-tuning after each.
        max_ratio: Largest fraction of a layer's channels that may be removed.
        keep: Layers that must not change at all, inputs included: patterns of module paths, or
            class names. To keep only their outputs, use ``pruning_ratio`` with ``ratios: {pattern:
            0}``.
        attention: What is removed inside attention layers: the same ``dimensions`` of every head,
            or whole ``heads``. The tokens' width is a group like any other.
        align: Channel counts stay multiples of this; ``auto`` measures what suits the runtime (with
            ``speedup``; 8 otherwise).
        sparse: Sparse training before the first round.
        reestimate_batchnorm: Recompute the batch norms' statistics after pruning, where there are
            training images.
        finetune: Training after every round.
        losses: Distillation losses for fine-tuning, with the unpruned model as teacher.
        label_weight: Weight of the loss on the labels beside the distillation losses.
    """

    method: Literal["prune"] = "prune"
    pruning_ratio: Ratio | None = None
    ratios: Annotated[Ratios, BeforeValidator(expand_ratios)] | None = None
    speedup: Speedup | None = None
    macs: Cut | None = None
    params: Cut | None = None
    size: Cut | None = None
    importance: str = "l2"
    samples: Count = 256
    ranking: Literal["local", "global", "isomorphic"] = "local"
    rounds: Count = 1
    max_ratio: Ratio = 0.9
    keep: tuple[str, ...] = ()
    attention: Literal["dimensions", "heads"] = "dimensions"
    align: Count | Literal["auto"] = "auto"
    sparse: SparseTraining | None = None
    reestimate_batchnorm: Flag = True
    finetune: TrainSettings | None = None
    losses: tuple[LossBlock, ...] = ()
    label_weight: NonNegative = 1.0

    @model_validator(mode="after")
    def _has_one_aim(self) -> Self:
        aims = [name for name in ("speedup", "macs", "params", "size") if getattr(self, name)]
        by_ratio = self.pruning_ratio is not None or self.ratios is not None
        if len(aims) + by_ratio != 1:
            found = ", ".join([*aims, "a ratio"] if by_ratio else aims) or "none"
            raise ValueError(
                f"found {found}, needs exactly one of: pruning_ratio (or ratios), speedup, macs, "
                "params, size"
            )
        return self
