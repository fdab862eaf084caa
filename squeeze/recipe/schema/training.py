"""How anything is trained."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from squeeze.recipe.schema.base import Block, Count, Flag, Fraction, Natural, NonNegative, Positive


class Augment(Block):
    """Augmentation of training images; nothing is done for keys that are left out or 0.

    Attributes:
        flip: Mirror left-right with probability 1/2.
        vertical_flip: Flip upside down with probability 1/2, for images without a natural
            orientation: aerial photographs, microscopy.
        shift: Pad by this many pixels (repeating the border) and crop at a random position.
        random_resized_crop: Crop a random part of the original image, of at least this share of
            its area, and resize it to the model's input (https://arxiv.org/abs/1409.4842).
        rand_augment: Strength of two random operations per image, 1 to 30; 9 is usual
            (https://arxiv.org/abs/1909.13719).
        color_jitter: Strength of random brightness, contrast and saturation; 0.4 is usual.
        mixup: Alpha of the Beta distribution by which an image and its label are blended with
            another one; 0.2 is usual (https://arxiv.org/abs/1710.09412).
        cutmix: Alpha of the Beta distribution of the share of the image, and of its label, that a
            rectangle of another image replaces; 1.0 is usual (https://arxiv.org/abs/1905.04899).
            With mixup too, every batch gets one of them.
        scale_jitter: Boxes only: range of a random scale, (0.5, 1.5) for example, by which the
            image fitted into the input is resized; it is cropped or padded at a random position.
        iou_crop: Boxes only: probability of a crop that keeps enough of some box, as in SSD's
            training (https://arxiv.org/abs/1512.02325).
        zoom_out: Boxes only: probability of shrinking the image on a grey canvas, at most to half
            its sides, SSD's counterpart of the crop for small objects.
        mosaic: Boxes only: probability of combining four images into one, of which a part is
            cropped (https://arxiv.org/abs/2004.10934).
    """

    flip: Flag = False
    vertical_flip: Flag = False
    shift: Natural = 0
    random_resized_crop: Annotated[float, Field(strict=True, gt=0, lt=1)] | None = None
    rand_augment: Annotated[int, Field(strict=True, ge=0, le=30)] = 0
    color_jitter: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.0
    mixup: NonNegative = 0.0
    cutmix: NonNegative = 0.0
    scale_jitter: tuple[Positive, Positive] | None = None
    iou_crop: Fraction = 0.0
    zoom_out: Fraction = 0.0
    mosaic: Fraction = 0.0

    @model_validator(mode="after")
    def _scales_rise(self) -> Self:
        if self.scale_jitter is not None and self.scale_jitter[0] > self.scale_jitter[1]:
            raise ValueError(f"scale_jitter {list(self.scale_jitter)} is not in rising order")
        return self

    @property
    def draws_itself(self) -> bool:
        """Whether something in it draws random numbers from torch while a batch is made."""
        pixels = self.random_resized_crop or self.rand_augment or self.color_jitter
        return bool(pixels or self.mixup or self.cutmix or self.vertical_flip or self.boxes_only)

    @property
    def classes_only(self) -> tuple[str, ...]:
        """Names of what is switched on that needs images with one class each."""
        names = ("shift", "random_resized_crop", "rand_augment", "mixup", "cutmix")
        return tuple(name for name in names if getattr(self, name))

    @property
    def boxes_only(self) -> tuple[str, ...]:
        """Names of what is switched on that needs images with boxes."""
        names = ("scale_jitter", "iou_crop", "zoom_out", "mosaic")
        return tuple(name for name in names if getattr(self, name))


class TrainSettings(Block):
    """One training run: baseline, fine-tuning or distillation.

    Attributes:
        epochs: Passes through the training samples.
        lr: The peak learning rate, after warm-up.
        batch_size: Samples of a batch; an incomplete last batch is left out.
        optimizer: ``sgd`` uses Nesterov momentum; ``adamw`` has no momentum.
        momentum: For ``sgd``.
        weight_decay: Coefficient; not applied to norms and biases (everything of one dimension).
        schedule: ``cosine`` decays to 0, ``constant`` stays, ``step`` multiplies by
            ``step_factor`` at every milestone, ``one_cycle`` rises from lr/25 over the warm-up (0.3
            of the run when there is none) and falls to lr/250000.
        warmup_epochs: The learning rate rises linearly over so many epochs; fractions are allowed.
        milestones: Epochs at which ``step`` lowers the learning rate, counted from the start.
        step_factor: What ``step`` multiplies the learning rate by.
        label_smoothing: Share of every label that is spread over all classes.
        focal_gamma: Exponent of the focal loss, which gives more weight to samples that are still
            wrong; 2 is usual, 0 is plain cross-entropy (https://arxiv.org/abs/1708.02002).
        balance_classes: Draw the samples of an epoch with replacement, every class equally often.
        augment: Augmentation of the images.
        ema: Decay of a moving average of the weights, which is then what is evaluated and kept;
            0.999 is usual. It is smaller in the first steps: (1 + t) / (10 + t). No average when
            left out.
        clip_norm: Largest norm of all gradients together; not clipped when left out.
        accumulate: Batches that make one optimizer step.
        freeze: Patterns of modules or parameters that are not trained, ``stem`` or ``layer1.*``;
            batch norms among them keep their statistics too.
        lr_scales: Factors of the learning rate by pattern; the last that matches wins.
        precision: Number format of the forward pass; ``fp16`` needs a GPU.
        channels_last: Train with channels-last memory, which is faster for convolutions on GPUs.
        compile: Train through ``torch.compile``.
        patience: Stop after this many epochs without a better figure on validation; never when
            left out.
        keep: Keep the ``last`` model, or the ``best`` on validation (the first of equals).
        deterministic: Use only algorithms that give the same bits every time; steps of the recipe
            are then reused only with the same threads, processes, device and version of torch.
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
    """How the baseline is trained, if it does not come trained.

    Attributes:
        train: The training that makes it.
    """

    train: TrainSettings
