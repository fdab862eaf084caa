"""What a recipe may say. Data only: no I/O, no cross-checks (see ``plan``), no torch."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    Tag,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from squeeze.core.errors import unknown_name

Count = Annotated[int, Field(strict=True, ge=1)]
Natural = Annotated[int, Field(strict=True, ge=0)]
Seed = Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)]
Number = Annotated[float, Field(strict=True)]
Positive = Annotated[float, Field(strict=True, gt=0)]
NonNegative = Annotated[float, Field(strict=True, ge=0)]
Fraction = Annotated[float, Field(strict=True, ge=0, le=1)]
Flag = Annotated[bool, Field(strict=True)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class Block(BaseModel):
    """A frozen mapping in which an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputSpec(Block):
    """What the model is fed: every runtime gets images prepared by exactly these numbers.

    Attributes:
        shape: ``(C, H, W)``; 1 channel is greyscale, 3 is RGB.
        mean: Subtracted per channel from pixels in [0, 1].
        std: Divides per channel afterwards.
        crop_fraction: The image is scaled to cover ``(H, W) / crop_fraction``, then the centre
            ``(H, W)`` is cut out. 0.875 is the 256 → 224 of ImageNet practice.
        interpolation: How images are resized.
    """

    shape: tuple[Count, Count, Count]
    mean: tuple[Number, ...] = (0.0,)
    std: tuple[Positive, ...] = (1.0,)
    crop_fraction: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.875
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"

    @model_validator(mode="after")
    def _channels_agree(self) -> Self:
        channels = self.shape[0]
        if channels not in {1, 3}:
            raise ValueError(f"found {channels} channels in shape, allowed: 1 (grey) or 3 (RGB)")
        for key in ("mean", "std"):
            if len(getattr(self, key)) not in {1, channels}:
                raise ValueError(
                    f"{key} has {len(getattr(self, key))} numbers for {channels} channels"
                )
        return self


class ModelBlock(Block):
    """A model: how to build it, which weights to load, what it is fed.

    Attributes:
        build: ``torchvision:NAME``, ``timm:NAME``, ``builtin:NAME``, ``package.module:function``
            or ``./file.py:function``. May be left out when ``weights`` is a bundle folder.
        args: Keyword arguments of the factory.
        weights: A ``.safetensors`` file, a bundle folder, a weights-only ``.pt``/``.pth`` file, or
            ``package:NAME/FILE`` for a file inside an installed Python package.
        input: May be left out when ``weights`` is a bundle folder.
    """

    build: str | None = None
    args: dict[str, Any] = Field(default_factory=dict)
    weights: str | None = None
    input: InputSpec | None = None


class DataSource(Block):
    """Labelled images.

    Attributes:
        format: The name of a dataset format (``squeeze list datasets``).
        path: Folder of ``image_folder``, ``idx`` and ``torchvision``.
        name: Class name of ``torchvision``.
        build: Factory of ``function``: ``./file.py:function`` or ``package.module:function``.
        args: Keyword arguments of that factory or class.
        split: Part of a format that has parts; follows the role when left out.
        samples: Use only so many, drawn by the recipe's seed.
        on_corrupt: What to do with images that cannot be decoded. They are always counted.
    """

    format: str
    path: str | None = None
    name: str | None = None
    build: str | None = None
    args: dict[str, Any] = Field(default_factory=dict)
    split: Literal["train", "validation"] | None = None
    samples: Count | None = None
    on_corrupt: Literal["refuse", "skip"] = "refuse"

    @model_validator(mode="before")
    @classmethod
    def _from_reference(cls, value: Any) -> Any:  # noqa: ANN401
        return expand_data_reference(value) if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Tell editors that a reference in a string will do."""
        return {"anyOf": [{"type": "string"}, handler.resolve_ref_schema(handler(core_schema))]}


def expand_data_reference(text: str) -> dict[str, Any]:
    """Expand ``builtin:digits``, ``idx:FOLDER``, ``./file.py:function`` or a folder's path."""
    head, colon, tail = text.partition(":")
    if not colon:
        return {"format": "image_folder", "path": text}
    if head == "builtin":
        return {"format": tail}
    if head == "torchvision":
        name, _, path = tail.partition(":")
        return {"format": "torchvision", "name": name, "path": path or None}
    if head in {"idx", "image_folder"}:
        return {"format": head, "path": tail}
    return {"format": "function", "build": text}


class CalibrationDraw(Block):
    """Calibration samples drawn from another split.

    Attributes:
        source: ``train``, or ``validation``: then the drawn samples are taken out of validation.
        samples: How many, drawn by the recipe's seed.
    """

    source: Literal["train", "validation"] = Field(alias="from")
    samples: Count = 128


def _calibration_tag(value: Any) -> str:  # noqa: ANN401
    drawn = "from" in value if isinstance(value, dict) else isinstance(value, CalibrationDraw)
    return "CalibrationDraw" if drawn else "DataSource"


Calibration = Annotated[
    Annotated[CalibrationDraw, Tag("CalibrationDraw")] | Annotated[DataSource, Tag("DataSource")],
    Discriminator(_calibration_tag),
]


class DataBlock(Block):
    """The three sets. None may share a sample with validation; that is checked by content.

    Attributes:
        on_overlap: ``error``, or ``drop_from_train`` to remove the shared samples from train.
    """

    validation: DataSource
    train: DataSource | None = None
    calibration: Calibration | None = None
    on_overlap: Literal["error", "drop_from_train"] = "error"


class Augment(Block):
    """Training-time augmentation. Left out or 0, nothing is done.

    Attributes:
        flip: Mirror left-right with probability 1/2.
        shift: Pad by so many pixels (repeating the border) and cut out at a random place.
        random_resized_crop: Cut a random part of the original picture, of at least this share of
            its area, and resize it to the model's input (https://arxiv.org/abs/1409.4842).
        rand_augment: Strength of two random operations per image, 1 to 30; 9 is usual
            (https://arxiv.org/abs/1909.13719).
        color_jitter: Strength of random brightness, contrast and saturation; 0.4 is usual.
        mixup: Alpha of the Beta distribution by which an image and its label are blended with
            another one; 0.2 is usual (https://arxiv.org/abs/1710.09412).
        cutmix: The same for a rectangle of another image; 1.0 is usual
            (https://arxiv.org/abs/1905.04899). With mixup too, every batch gets one of them.
    """

    flip: Flag = False
    shift: Natural = 0
    random_resized_crop: Annotated[float, Field(strict=True, gt=0, lt=1)] | None = None
    rand_augment: Annotated[int, Field(strict=True, ge=0, le=30)] = 0
    color_jitter: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.0
    mixup: NonNegative = 0.0
    cutmix: NonNegative = 0.0

    @property
    def draws_itself(self) -> bool:
        """Whether something in it takes chance from torch while a batch is made."""
        pixels = self.random_resized_crop or self.rand_augment or self.color_jitter
        return bool(pixels or self.mixup or self.cutmix)


class TrainSettings(Block):
    """One training run: baseline, fine-tuning or distillation.

    Attributes:
        epochs: Passes through the training samples.
        lr: The peak learning rate, after warm-up.
        batch_size: Samples of a batch; an incomplete last batch is left out.
        optimizer: ``sgd`` is Nesterov's; ``adamw`` takes no momentum.
        momentum: Of SGD, [0, 1).
        weight_decay: Spares norms and biases (everything of one dimension).
        schedule: ``cosine`` goes down to 0, ``constant`` stays, ``step`` multiplies by
            ``step_factor`` at every milestone, ``one_cycle`` rises from lr/25 over the warm-up (0.3
            of the run when there is none) and falls to lr/250000.
        warmup_epochs: The learning rate rises linearly over so many epochs.
        milestones: Epochs at which ``step`` goes down, counted from the start.
        step_factor: By what it goes down.
        label_smoothing: Share of every label that is spread over all classes, [0, 1).
        focal_gamma: Exponent of the focal loss, which turns to the samples that are still wrong; 2
            is usual, 0 is plain cross-entropy (https://arxiv.org/abs/1708.02002).
        balance_classes: Draw the samples of an epoch with replacement, every class as often.
        augment: What is done to the images.
        ema: Decay of a moving average of the weights, which is what is evaluated and kept then;
            0.999 is usual. It is smaller in the first steps: (1 + t) / (10 + t).
        clip_norm: Largest norm of all gradients together.
        accumulate: Batches that make one optimizer step.
        freeze: Patterns of modules or parameters that stay as they are, ``stem`` or ``layer1.*``;
            BatchNorms among them keep their statistics too.
        lr_scales: Factors of the learning rate by pattern; the last that matches decides.
        precision: Number format of the forward pass; ``fp16`` needs a GPU.
        channels_last: Train with channels-last memory, which convolutions on GPUs like.
        compile: Train through ``torch.compile``.
        patience: Stop after so many epochs in which top-1 on validation did not rise.
        keep: Leave the ``last`` model, or the ``best`` on validation (the first of equals).
        deterministic: Use only algorithms that give the same bits every time.
        workers: Processes that prepare batches ahead, at most one per core; the batches are the
            same whatever the number.
    """

    epochs: Count
    lr: Positive = 0.05
    batch_size: Count = 64
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.9
    weight_decay: NonNegative = 5e-4
    schedule: Literal["cosine", "constant", "step", "one_cycle"] = "cosine"
    warmup_epochs: NonNegative = 0.0
    milestones: tuple[Count, ...] = ()
    step_factor: Annotated[float, Field(strict=True, gt=0, lt=1)] = 0.1
    label_smoothing: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.0
    focal_gamma: NonNegative = 0.0
    balance_classes: Flag = False
    augment: Augment = Augment()
    ema: Annotated[float, Field(strict=True, gt=0, lt=1)] | None = None
    clip_norm: Positive | None = None
    accumulate: Count = 1
    freeze: tuple[str, ...] = ()
    lr_scales: dict[str, Positive] = Field(default_factory=dict)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: Flag = False
    compile: Flag = False
    patience: Count | None = None
    keep: Literal["last", "best"] = "last"
    deterministic: Flag = False
    workers: Natural = 0

    @model_validator(mode="after")
    def _milestones_belong_to_step(self) -> Self:
        if (self.schedule == "step") != bool(self.milestones):
            found = f"schedule {self.schedule} with milestones {list(self.milestones)}"
            raise ValueError(f"found {found}; schedule: step needs milestones, and only it does")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones {list(self.milestones)} are not in rising order")
        return self


class BaselineBlock(Block):
    """How the baseline comes to be when it does not come trained."""

    train: TrainSettings


class Speedup(Block):
    """A measured speed-up over the unpruned model to reach, in one runtime."""

    runtime: str
    at_least: Annotated[float, Field(strict=True, gt=1)]
    threads: Count = 1
    batch_size: Count = 1


class Cut(Block):
    """A cost to reach: so many times below the unpruned model's, or at most so much."""

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
        strength: Its coefficient.
    """

    regularizer: str = "group_norm"
    strength: Positive = 1e-4


class Sensitivity(Block):
    """How ``ratios: {from_sensitivity: …}`` turns curves into ratios.

    Attributes:
        max_drop: Each group is pruned as far as alone it costs at most so much top-1, [0, 1].
        samples: Training samples that the curves are measured on.
    """

    max_drop: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.02
    samples: Count = 512


class SensitivityRatios(Block):
    """Per-group ratios that the step finds out by itself."""

    from_sensitivity: Sensitivity = Sensitivity()


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
        pruning_ratio: Fraction of every prunable layer's channels to remove, [0, 1).
        ratios: Fractions by layer (patterns of module paths), or ``from_sensitivity``.
        speedup: Find the widths that reach a measured speed-up at the least importance.
        macs: The same for multiply-adds.
        params: The same for parameters.
        size: The same for the bytes of the exported float file (``.onnx``).
        importance: Name of a criterion (``squeeze list importance``).
        samples: Training samples that a criterion with data looks at.
        ranking: With ratios: rank channels within a layer, among all, or among layers alike.
        rounds: Prune in so many equal rounds, fine-tuning after each.
        max_ratio: Largest fraction of a layer's channels that may go, [0, 1).
        keep: Layers never touched: patterns of module paths, or class names.
        attention: What attention layers lose inside: the same ``dimensions`` of every head, or
            whole ``heads``. The tokens' width is a group like any other.
        align: Keep channel counts multiples of this; ``auto`` measures what the runtime likes
            (with ``speedup``; 8 otherwise).
        sparse: Sparse training before the first round.
        reestimate_batchnorm: Average the batch norms' statistics anew after pruning, where there
            are training images.
        finetune: Training after every round.
        losses: Distillation losses from the unpruned model while fine-tuning.
        label_weight: Weight of the labels' own loss beside them.
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
    losses: "tuple[LossBlock, ...]" = ()
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


class LayerTie(Block):
    """Layers to compare: ``fnmatch`` patterns on module paths, matching equally many."""

    teacher: str
    student: str


class LossBlock(Block):
    """One distillation loss (``squeeze list losses``).

    Attributes:
        weight: The loss's own default when left out.
        temperature: Of a loss that has one; its own default when left out.
        layers: Of a loss on features; the last map of every spatial stage when left out.
        options: The loss's further settings, checked against its ``Options``.
    """

    name: str
    weight: NonNegative | None = None
    temperature: Positive | None = None
    layers: Annotated[tuple[LayerTie, ...], Field(min_length=1)] | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class DistillStep(TrainSettings):
    """Train the current model, or a new one, to imitate a teacher.

    Attributes:
        teacher: ``baseline`` or a model block.
        student: Another architecture that takes the current model's place; it starts from its
            weights, or from the recipe's seed. The current model when left out.
        losses: Added up by weight, on top of cross-entropy by ``label_weight``.
    """

    method: Literal["distill"] = "distill"
    teacher: Literal["baseline"] | ModelBlock | None = None
    student: ModelBlock | None = None
    losses: Annotated[tuple[LossBlock, ...], Field(min_length=1)] = (LossBlock(name="kd"),)
    label_weight: NonNegative = 1.0


class RecoverySettings(Block):
    """What is done to a copy of the model so that it loses less accuracy as int8.

    Attributes:
        equalize: Scale channels so that all use the 8 bits that their activation has.
        bias_correction: Undo what rounding the weights does to the mean of a layer's outputs.
        rounding: ``adaptive`` rounds weights up or down by what it does to a layer's outputs on
            calibration data, ``nearest`` does not.
    """

    equalize: Flag = True
    bias_correction: Flag = True
    rounding: Literal["nearest", "adaptive"] = "adaptive"

    @property
    def active(self) -> bool:
        """Whether anything is done."""
        return self.equalize or self.bias_correction or self.rounding != "nearest"


class Quantization(Block):
    """What every quantize step says about the files.

    Attributes:
        scheme: What they hold.
        backend: ``auto`` uses for every target the backend of its runtime.
        weight_bits: ``auto`` takes 7 on an x86 CPU without VNNI, whose int8 kernels saturate on
            8-bit weights, and 8 elsewhere. Only for ONNX Runtime.
        range_percentile: Activation ranges are the per-image minima and maxima merged at this
            percentile and at 100 minus it; 0 is plain min-max.
    """

    method: Literal["quantize"] = "quantize"
    scheme: str
    backend: str = "auto"
    weight_bits: Literal["auto", 7, 8] = "auto"
    range_percentile: Annotated[float, Field(strict=True, ge=0, lt=50)] = 10.0


class QuantizeStep(Quantization):
    """Quantize the exported files after training.

    Attributes:
        scheme: ``static_int8``: int8 weights per channel, 8-bit activations from calibration.
        recovery: What is done against the loss of accuracy.
    """

    scheme: Literal["static_int8"] = "static_int8"
    recovery: RecoverySettings = RecoverySettings()

    @model_validator(mode="before")
    @classmethod
    def _knows_the_scheme(cls, value: Any) -> Any:  # noqa: ANN401
        scheme = value.get("scheme", "static_int8") if isinstance(value, dict) else "static_int8"
        if scheme != "static_int8":  # other keys' mistakes would be told by the wrong scheme
            raise ValueError(unknown_name("scheme", str(scheme), ("static_int8", "qat_int8")))
        return value


class QatStep(Quantization, TrainSettings):
    """Train in a simulation of the int8 files, then quantize them with what was learned.

    One training serves all targets; if one of them takes 7-bit weights, all have them.

    Attributes:
        scheme: ``qat_int8``: what ``static_int8`` makes, with trained weights and ranges.
        lr: Lower than for training from the start.
        clip_norm: Keeps weights of very unequal channels from being thrown about; where training
            makes the simulation worse, try 0.1.
        losses: Distillation losses from the baseline, added up by weight.
        label_weight: Weight of the labels' own loss beside them.
    """

    scheme: Literal["qat_int8"]
    lr: Positive = 0.005
    clip_norm: Positive | None = 1.0
    losses: tuple[LossBlock, ...] = ()
    label_weight: NonNegative = 1.0


def _scheme(value: Any) -> str:  # noqa: ANN401
    scheme = value.get("scheme") if isinstance(value, dict) else getattr(value, "scheme", None)
    return "QatStep" if scheme == "qat_int8" else "QuantizeStep"


Quantize = Annotated[
    Annotated[QuantizeStep, Tag("QuantizeStep")] | Annotated[QatStep, Tag("QatStep")],
    Discriminator(_scheme),
]
Step = Annotated[PruneStep | DistillStep | Quantize, Field(discriminator="method")]


class Target(Block):
    """A runtime that will serve the model.

    Attributes:
        precision: What the shipped model must hold there; ``auto`` takes what the steps made.
        if_available: Leave the target out, with a row that says so, where it cannot run.
    """

    runtime: str
    name: Name | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    threads: Count = 1
    batch_size: Count | Annotated[tuple[Count, ...], Field(min_length=1)] = 1
    precision: Literal["auto", "fp32", "fp16", "bf16", "int8"] = "auto"
    if_available: Flag = False

    @property
    def label(self) -> str:
        """The name that reports and gates use."""
        return self.name or (self.runtime if self.device == "cpu" else f"{self.runtime}-cuda")

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """All batch sizes."""
        return (self.batch_size,) if isinstance(self.batch_size, int) else self.batch_size


class LimitedGate(Block):
    """A gate of which at least one limit must be given."""

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        limits = sorted(set(type(self).model_fields) - {"metric", "target"})
        if all(getattr(self, limit) is None for limit in limits):
            raise ValueError(f"has no limit, allowed: {', '.join(limits)}")
        return self


class AccuracyGate(LimitedGate):
    """``max_drop`` is absolute (0.01 = one point), against the baseline on the same samples."""

    metric: Literal["top1", "top5"]
    target: str | None = None
    max_drop: NonNegative | None = None
    min: Fraction | None = None


class AgreementGate(Block):
    """Share of samples on which candidate and baseline predict the same class."""

    metric: Literal["agreement"]
    target: str | None = None
    min: Fraction


class LatencyGate(LimitedGate):
    """``min_speedup`` is the measured baseline/candidate ratio; ``max_latency_s`` the median."""

    metric: Literal["latency"]
    target: str | None = None
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
    """Share of convolutions and matrix products that run in int8 kernels."""

    metric: Literal["int8_coverage"]
    target: str | None = None
    min: Fraction


Gate = Annotated[
    AccuracyGate | AgreementGate | LatencyGate | SizeGate | CostGate | CoverageGate,
    Field(discriminator="metric"),
]


def _no_flag(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, bool | float):  # true == 1 == 1.0 in Python, but not in a recipe
        raise ValueError(f"found {value!r}, allowed: 1")  # noqa: TRY004  (pydantic wants this type)
    return value


class Recipe(Block):
    """The whole recipe, version 1."""

    version: Annotated[Literal[1], BeforeValidator(_no_flag)]
    name: Name
    seed: Seed = 0
    task: Literal["classification"] = "classification"
    model: ModelBlock
    data: DataBlock
    baseline: BaselineBlock | None = None
    steps: tuple[Step, ...] = ()
    targets: Annotated[tuple[Target, ...], Field(min_length=1)]
    gates: tuple[Gate, ...] = ()
