"""The quantize step, after training and with it."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Discriminator, Tag, model_validator

from squeeze.core.errors import unknown_name
from squeeze.recipe.schema.base import Block, Count, Flag, NonNegative, Positive
from squeeze.recipe.schema.calibrator import Calibrator, CalibratorBlock
from squeeze.recipe.schema.distill import LossBlock
from squeeze.recipe.schema.training import TrainSettings


class RecoverySettings(Block):
    """What is done to a copy of the model so that int8 costs less accuracy.

    Attributes:
        equalize: Rescale channels so that each uses the full 8 bits of its activation.
        bias_correction: Correct the shift that rounding the weights causes in the mean of a layer's
            outputs.
        rounding: ``adaptive`` rounds each weight up or down so that a layer's outputs on
            calibration data change least, ``nearest`` to the nearest value.
    """

    equalize: Flag = True
    bias_correction: Flag = True
    rounding: Literal["nearest", "adaptive"] = "adaptive"

    @property
    def active(self) -> bool:
        """Whether anything is done."""
        return self.equalize or self.bias_correction or self.rounding != "nearest"


class Quantization(Block):
    """What all quantize steps have in common.

    Attributes:
        method: The kind of step.
        scheme: What the files hold.
        backend: ``auto`` uses for every target the backend of its runtime.
        weight_bits: ``auto`` takes 7 on an x86 CPU without VNNI, whose int8 kernels saturate on
            8-bit weights, and 8 elsewhere. Only for ONNX Runtime.
        calibrator: How the ranges of activations come from the calibration samples.
    """

    method: Literal["quantize"] = "quantize"
    scheme: str
    backend: str = "auto"
    weight_bits: Literal["auto", 7, 8] = "auto"
    calibrator: Calibrator = CalibratorBlock()


class Autotune(Block):
    """Try several configurations of the backend and take the first that is accurate enough.

    Attributes:
        max_drop: Largest allowed loss of top-1 on the labelled calibration samples, absolute (0.01
            is one point). Validation samples are not used: the report measures on them.
    """

    max_drop: NonNegative = 0.01


class MixedPrecision(Block):
    """Keep the fewest layers in float that bring the loss of int8 within a limit, file by file.

    Measured on training images that calibration does not use, or else on the calibration images;
    never on validation.

    Attributes:
        metric: ``top1`` or ``top5`` of classification, ``map`` or ``ap50`` of detection; ``auto``
            takes the task's first. ``agreement``: share of the float file's predictions that this
            one makes too, which is more sensitive and needs no labels.
        max_drop: Largest allowed loss of the metric against the float file, absolute (0.005 is half
            a point).
        samples: Largest number of images to measure on.
        max_layers: Largest number of layers in float; all but one when left out.
    """

    metric: str = "auto"
    max_drop: NonNegative = 0.005
    samples: Count = 256
    max_layers: Count | None = None


PostTraining = Literal[
    "static_int8", "dynamic_int8", "weight_only_int8", "static_int8_int16", "fp16", "bf16"
]


class QuantizeStep(Quantization):
    """Quantize the exported files after training.

    Attributes:
        scheme: ``static_int8``: int8 weights per channel, 8-bit activations from calibration;
            ``static_int8_int16``: the same with 16-bit activations; ``dynamic_int8``: int8 weights,
            activations quantized while running; ``weight_only_int8``: int8 weights, arithmetic
            in float; ``fp16`` and ``bf16``: half-precision floats.
        recovery: How accuracy that int8 weights cost is recovered.
        autotune: For the backend ``neural_compressor``: try its configurations until one is
            accurate enough.
        keep_float: Layers that run in float: patterns of module paths (``features.0*``), each with
            all of its submodules, or class names.
        mixed_precision: Search by measuring which further layers have to run in float; no search
            when left out.
    """

    scheme: PostTraining = "static_int8"
    recovery: RecoverySettings = RecoverySettings()
    autotune: Autotune | None = None
    keep_float: tuple[str, ...] = ()
    mixed_precision: MixedPrecision | None = None

    @model_validator(mode="before")
    @classmethod
    def _knows_the_scheme(cls, value: object) -> object:
        scheme = value.get("scheme", "static_int8") if isinstance(value, dict) else "static_int8"
        if scheme not in get_args(
            PostTraining
        ):  # other mistakes would be reported for a wrong scheme
            allowed = (*get_args(PostTraining), "qat_int8")
            raise ValueError(unknown_name("scheme", str(scheme), allowed))
        return value

    @model_validator(mode="after")
    def _has_what_it_says(self) -> Self:
        """Refuse what a scheme does not do; the defaults may be written out."""
        for key, schemes in _ONLY.items():
            if self.scheme in schemes or key not in type(self).model_fields:
                continue
            value = getattr(self, key)
            if value != type(self).model_fields[key].default:
                raise ValueError(
                    f"{key} has no effect on scheme {self.scheme}, allowed: {', '.join(schemes)}"
                )
        return self


_STATIC = ("static_int8", "static_int8_int16")
_INT8_WEIGHTS = (*_STATIC, "dynamic_int8", "weight_only_int8")
_ONLY = {
    "weight_bits": _INT8_WEIGHTS,
    "calibrator": _STATIC,
    "recovery": _INT8_WEIGHTS,
    "autotune": ("static_int8",),
    "keep_float": _STATIC,
    "mixed_precision": _STATIC,
}
"""Keys that have no effect on other schemes."""


class QatStep(Quantization, TrainSettings):
    """Train in a simulation of the int8 files, then quantize them with what was learned.

    One training serves all targets; if one of them needs 7-bit weights, all get them.

    Attributes:
        scheme: ``qat_int8``: what ``static_int8`` makes, with trained weights and ranges.
        lr: The peak learning rate, after warm-up; lower than for training from the start.
        clip_norm: Largest norm of all gradients together. It keeps layers with very unequal
            channels stable; where training makes the simulation worse, try 0.1.
        losses: Distillation losses with the baseline as teacher, summed with their weights.
        label_weight: Weight of the loss on the labels beside the distillation losses.
        keep_float: Layers that are trained and run in float: patterns of module paths
            (``features.0*``), each with all of its submodules, or class names.
    """

    scheme: Literal["qat_int8"]
    lr: Positive = 0.005
    clip_norm: Positive | None = 1.0
    losses: tuple[LossBlock, ...] = ()
    label_weight: NonNegative = 1.0
    keep_float: tuple[str, ...] = ()


def _scheme(value: object) -> str:
    scheme = value.get("scheme") if isinstance(value, dict) else getattr(value, "scheme", None)
    return "QatStep" if scheme == "qat_int8" else "QuantizeStep"


Quantize = Annotated[
    Annotated[QuantizeStep, Tag("QuantizeStep")] | Annotated[QatStep, Tag("QatStep")],
    Discriminator(_scheme),
]
