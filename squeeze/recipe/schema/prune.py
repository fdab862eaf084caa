"""The prune step."""

from typing import Annotated, Any, Literal, Self

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
    """A cost to reach: so many times below the unpruned model's, or at most so much.

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
    """Training that pushes the channels that will go towards zero, before they go.

    Attributes:
        regularizer: Name of a regulariser (``squeeze list sparse``).
        strength: The regularizer's coefficient.
    """

    regularizer: str = "group_norm"
    strength: Positive = 1e-4


class SensitivitySettings(Block):
    """How ``ratios: {from_sensitivity: …}`` turns curves into ratios.

    Attributes:
        max_drop: Each group is pruned as far as alone it costs at most so much top-1, absolute
            (0.02 is two points).
        samples: Training samples that the curves are measured on.
    """

    max_drop: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.02
    samples: Count = 512


class SensitivityRatios(Block):
    """Per-group ratios that the step finds out by itself.

    Attributes:
        from_sensitivity: How curves become ratios; its defaults when only ``ratios:
            from_sensitivity`` is written.
    """

    from_sensitivity: SensitivitySettings = SensitivitySettings()


Ratio = Annotated[float, Field(strict=True, ge=0, lt=1)]


def _ratios_tag(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, SensitivityRatios):
        return "SensitivityRatios"
    return "SensitivityRatios" if isinstance(value, dict) and "from_sensitivity" in value else "map"


def expand_ratios(value: object) -> object:
    """Let ``from_sensitivity`` alone stand for its block with the usual settings."""
    return {"from_sensitivity": {}} if value == "from_sensitivity" else value


Ratios = Annotated[
    Annotated[SensitivityRatios, Tag("SensitivityRatios")]
    | Annotated[dict[str, Ratio], Tag("map")],
    Discriminator(_ratios_tag),
]


class PruneStep(Block):
    """Remove whole channels, everywhere they are coupled (Torch-Pruning).

    One of ``pruning_ratio``, ``ratios``, ``speedup``, ``macs``, ``params`` and ``size`` says how
    much; ``ratios`` may go with ``pruning_ratio``, which then is for all other layers.

    Attributes:
        method: The kind of step.
        pruning_ratio: Fraction of every prunable layer's channels to remove.
        ratios: Fractions by layer (patterns of module paths), or ``from_sensitivity``.
        speedup: Find the widths that reach a measured speed-up at the least importance.
        macs: Find the widths that reach a count of multiply-adds at the least importance.
        params: Find the widths that reach a count of parameters at the least importance.
        size: Find the widths that reach a size of the exported float file (``.onnx``), in bytes, at
            the least importance.
        importance: Name of a criterion (``squeeze list importance``).
        samples: Training samples that a criterion with data looks at.
        ranking: With ratios: rank channels within a layer, among all, or among layers alike.
        rounds: Prune in so many equal rounds, fine-tuning after each.
        max_ratio: Largest fraction of a layer's channels that may go.
        keep: Layers never touched, so that what they read stays too: patterns of module paths, or
            class names. With ``pruning_ratio``, ``ratios: {pattern: 0}`` spares outputs only.
        attention: What attention layers lose inside: the same ``dimensions`` of every head, or
            whole ``heads``. The tokens' width is a group like any other.
        align: Keep channel counts multiples of this; ``auto`` measures what the runtime likes (with
            ``speedup``; 8 otherwise).
        sparse: Sparse training before the first round.
        reestimate_batchnorm: Average the batch norms' statistics anew after pruning, where there
            are training images.
        finetune: Training after every round.
        losses: Distillation losses from the unpruned model while fine-tuning.
        label_weight: Weight of the labels' own loss beside the distillation losses.
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
