"""``squeeze quantize``."""

from dataclasses import dataclass
from typing import Annotated

import typer

from squeeze.cli import completion, one_step
from squeeze.core import plugins
from squeeze.core.errors import InputError, unknown_name

_ALL, _NONE = "all", "none"
_UNRECOVERED = {"equalize": False, "bias_correction": False, "rounding": "nearest"}
_SYNTHETIC = "synthetic"


@dataclass(frozen=True, kw_only=True)
class FileFlags:
    """What the quantized files hold, and who makes them."""

    scheme: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="static_int8, dynamic_int8, weight_only_int8, static_int8_int16, fp16 or bf16.",
            autocompletion=completion.schemes,
        ),
    ] = "static_int8"
    backend: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="auto for the one of each target, or neural_compressor (ONNX Runtime only).",
            autocompletion=completion.of_group(plugins.BACKENDS),
        ),
    ] = "auto"
    autotune: Annotated[
        float | None,
        typer.Option(
            metavar="MAX_DROP",
            help="Let neural_compressor try its configurations until one loses at most this much "
            "top-1 on the calibration images.",
            min=0,
        ),
    ] = None
    weight_bits: Annotated[
        str, typer.Option(help="auto, 7 or 8; auto decides by this CPU (ONNX Runtime).")
    ] = "auto"

    def keys(self) -> dict[str, object]:
        """Return the keys of the step that these flags set."""
        bits = self.weight_bits
        return {
            "scheme": self.scheme,
            "backend": self.backend,
            "autotune": None if self.autotune is None else {"max_drop": self.autotune},
            "weight_bits": int(bits) if bits.isdigit() else bits,
        }


@dataclass(frozen=True, kw_only=True)
class CalibrationFlags:
    """The images that set activation ranges, and how they do it."""

    calibration: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Separate calibration data, named like --validation, or synthetic for generated "
            "images.",
        ),
    ] = None
    calibration_samples: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Without --calibration, draw this many images from --train, or else take them out "
            "of --validation.",
            min=1,
        ),
    ] = 128
    calibrator: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How activation ranges are found; see squeeze list calibrators.",
            autocompletion=completion.of_group(plugins.CALIBRATORS),
        ),
    ] = "image_percentile"
    percentile: Annotated[
        float | None,
        typer.Option(help="For calibrators that use one. Default: the calibrator's."),
    ] = None

    def keys(self) -> dict[str, object]:
        """Return the keys of the step that these flags set."""
        if self.percentile is None:
            return {"calibrator": self.calibrator}
        return {"calibrator": {"name": self.calibrator, "percentile": self.percentile}}

    def block(self, sets: one_step.SetFlags, scheme: str) -> object:
        """Return the block of the calibration data; None where none is needed."""
        from squeeze.recipe.schemes import SCHEMES

        if self.calibration == _SYNTHETIC:
            return {"format": _SYNTHETIC, "samples": self.calibration_samples}
        if self.calibration is not None:
            return sets.read.source(self.calibration, "calibration")
        has_train = sets.train is not None
        if scheme in SCHEMES and not SCHEMES[scheme].calibrates and not has_train:
            return None  # do not shrink validation for samples that are not needed
        source = "train" if has_train else "validation"
        return {"from": source, "samples": self.calibration_samples}


@dataclass(frozen=True, kw_only=True)
class AccuracyFlags:
    """What is done for the files' accuracy."""

    keep_float: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Layers to keep in float: a pattern of module paths or a class name; may be "
            "repeated.",
        ),
    ] = None
    mixed_precision: Annotated[
        float | None,
        typer.Option(
            metavar="MAX_DROP",
            help="Keep the fewest layers in float that limit the loss of accuracy, measured on "
            "training or calibration images, to this; 0.005 is half a point.",
            min=0,
        ),
    ] = None
    recovery: Annotated[
        str,
        typer.Option(
            help="all (equalize channels, round weights adaptively, correct biases) or none; to "
            "choose, use --set steps.0.recovery.equalize=false and the like."
        ),
    ] = _ALL

    def keys(self) -> dict[str, object]:
        """Return the keys of the step that these flags set.

        Raises:
            InputError: ``--recovery`` is neither all nor none.
        """
        if self.recovery not in {_ALL, _NONE}:
            what = unknown_name("recovery", self.recovery, [_ALL, _NONE])
            raise InputError(what, where="--recovery")
        limit = self.mixed_precision
        return {
            "recovery": {} if self.recovery == _ALL else _UNRECOVERED,
            "keep_float": self.keep_float or None,
            "mixed_precision": None if limit is None else {"max_drop": limit},
        }


def quantize(
    flags: one_step.OneStepFlags,
    *,
    calibration: CalibrationFlags,
    files: FileFlags,
    accuracy: AccuracyFlags,
) -> None:
    """Quantize the exported files, measure and audit them."""
    if files.scheme == "qat_int8":
        raise InputError(
            "trains the model, which takes more settings than there are flags for",
            where="--scheme qat_int8",
            hint="write a recipe, like recipes/digits_resnet8_prune50_qat_int8.yaml",
        )
    step = {"method": "quantize"} | files.keys() | calibration.keys() | accuracy.keys()
    one_step.run(flags, step, calibration.block(flags.sets, files.scheme))
