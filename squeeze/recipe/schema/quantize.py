"""The quantize step, after training and with it."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Discriminator, Tag, model_validator

from squeeze.core.errors import unknown_name
from squeeze.recipe.schema.base import Block, Count, Flag, NonNegative, Positive
from squeeze.recipe.schema.calibrator import Calibrator, CalibratorBlock
from squeeze.recipe.schema.distill import LossBlock
from squeeze.recipe.schema.training import TrainSettings


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
            is one point). Validation decides nothing here: it is what the report measures.
    """

    max_drop: NonNegative = 0.01


class MixedPrecision(Block):
    """Keep the fewest layers in float that bring the loss of int8 within a limit, file by file.

    Measured on training images that calibrate nothing, or else on the calibration images; never
    on validation.

    Attributes:
        metric: ``top1`` or ``top5`` of classification, ``map`` or ``ap50`` of detection; ``auto``
            takes the task's first. ``agreement``: share of what the float file predicts that this
            one predicts too, which is sharper and takes no labels.
        max_drop: Largest allowed loss of it against the float file, absolute (0.005 is half a
            point).
        samples: How many images to measure on, at most.
        max_layers: The most layers that may be float; all but one when left out.
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
            activations quantized while running; ``weight_only_int8``: int8 weights that are
            computed with in float; ``fp16`` and ``bf16``: half-precision floats.
        recovery: What is done against the loss of accuracy of int8 weights.
        autotune: For the backend ``neural_compressor``: try its configurations until one is
            accurate enough.
        keep_float: Layers that run in float: patterns of module paths (``features.0*``), each with
            all that is inside, or class names.
        mixed_precision: Find by measuring which other layers run in float; none when left out.
    """

    scheme: PostTraining = "static_int8"
    recovery: RecoverySettings = RecoverySettings()
    autotune: Autotune | None = None
    keep_float: tuple[str, ...] = ()
    mixed_precision: MixedPrecision | None = None

    @model_validator(mode="before")
    @classmethod
    def _knows_the_scheme(cls, value: Any) -> Any:  # noqa: ANN401
        scheme = value.get("scheme", "static_int8") if isinstance(value, dict) else "static_int8"
        if scheme not in get_args(PostTraining):  # other mistakes would be told by a wrong scheme
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
"""The keys that say nothing to other schemes."""


class QatStep(Quantization, TrainSettings):
    """Train in a simulation of the int8 files, then quantize them with what was learned.

    One training serves all targets; if one of them takes 7-bit weights, all have them.

    Attributes:
        scheme: ``qat_int8``: what ``static_int8`` makes, with trained weights and ranges.
        lr: The peak learning rate, after warm-up; lower than for training from the start.
        clip_norm: Largest norm of all gradients together. It keeps weights of very unequal channels
            in place; where training makes the simulation worse, try 0.1.
        losses: Distillation losses from the baseline, added up by weight.
        label_weight: Weight of the labels' own loss beside the distillation losses.
        keep_float: Layers that are trained and run in float: patterns of module paths
            (``features.0*``), each with all that is inside, or class names.
    """

    scheme: Literal["qat_int8"]
    lr: Positive = 0.005
    clip_norm: Positive | None = 1.0
    losses: tuple[LossBlock, ...] = ()
    label_weight: NonNegative = 1.0
    keep_float: tuple[str, ...] = ()


def _scheme(value: Any) -> str:  # noqa: ANN401
    scheme = value.get("scheme") if isinstance(value, dict) else getattr(value, "scheme", None)
    return "QatStep" if scheme == "qat_int8" else "QuantizeStep"


Quantize = Annotated[
    Annotated[QuantizeStep, Tag("QuantizeStep")] | Annotated[QatStep, Tag("QatStep")],
    Discriminator(_scheme),
]
