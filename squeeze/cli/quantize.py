"""``squeeze quantize``."""

from typing import Annotated, Any

import typer

from squeeze.cli import completion, one_step
from squeeze.core import plugins
from squeeze.core.errors import InputError, unknown_name


def quantize(
    flags: one_step.Flags,
    calibration: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Separate calibration data, named like --validation, or synthetic for generated "
            "images.",
        ),
    ] = None,
    calibration_samples: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Without --calibration, draw this many images from --train, or else take them out "
            "of --validation.",
            min=1,
        ),
    ] = 128,
    scheme: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="static_int8, dynamic_int8, weight_only_int8, static_int8_int16, fp16 or bf16.",
            autocompletion=completion.schemes,
        ),
    ] = "static_int8",
    backend: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="auto for the one of each target, or neural_compressor (ONNX Runtime only).",
            autocompletion=completion.of_group(plugins.BACKENDS),
        ),
    ] = "auto",
    autotune: Annotated[
        float | None,
        typer.Option(
            metavar="MAX_DROP",
            help="Let neural_compressor try its configurations until one loses at most this much "
            "top-1 on the calibration images.",
            min=0,
        ),
    ] = None,
    weight_bits: Annotated[
        str, typer.Option(help="auto, 7 or 8; auto decides by this CPU (ONNX Runtime).")
    ] = "auto",
    calibrator: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How activation ranges are found; see squeeze list calibrators.",
            autocompletion=completion.of_group(plugins.CALIBRATORS),
        ),
    ] = "image_percentile",
    percentile: Annotated[
        float | None,
        typer.Option(help="For calibrators that use one. Default: the calibrator's."),
    ] = None,
    keep_float: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Layers to keep in float: a pattern of module paths or a class name; may be "
            "repeated.",
        ),
    ] = None,
    mixed_precision: Annotated[
        float | None,
        typer.Option(
            metavar="MAX_DROP",
            help="Keep the fewest layers in float that limit the loss of accuracy, measured on "
            "training or calibration images, to this; 0.005 is half a point.",
            min=0,
        ),
    ] = None,
    recovery: Annotated[
        str,
        typer.Option(
            help="all (equalize channels, round weights adaptively, correct biases) or none; to "
            "choose, use --set steps.0.recovery.equalize=false and the like."
        ),
    ] = "all",
) -> None:
    """Quantize the exported files, measure and audit them."""
    if scheme == "qat_int8":
        raise InputError(
            "trains the model, which takes more settings than there are flags for",
            where="--scheme qat_int8",
            hint="write a recipe, like recipes/digits_resnet8_prune50_qat_int8.yaml",
        )
    from squeeze.recipe.schemes import SCHEMES

    has_train = "train" in flags.recipe["data"]
    drawn: dict[str, Any] | None = {
        "from": "train" if has_train else "validation",
        "samples": calibration_samples,
    }
    if scheme in SCHEMES and not SCHEMES[scheme].calibrates and not has_train:
        drawn = None  # do not shrink validation for samples that are not needed
    bits = int(weight_bits) if weight_bits.isdigit() else weight_bits
    one_step.run(
        flags,
        {
            "method": "quantize",
            "scheme": scheme,
            "backend": backend,
            "autotune": None if autotune is None else {"max_drop": autotune},
            "weight_bits": bits,
            "calibrator": _calibrator(calibrator, percentile),
            "recovery": _recovery(recovery),
            "keep_float": keep_float or None,
            "mixed_precision": None if mixed_precision is None else {"max_drop": mixed_precision},
        },
        _calibration(flags, calibration, calibration_samples) or drawn,
    )


def _calibration(flags: one_step.Flags, wanted: str | None, samples: int) -> Any:  # noqa: ANN401
    if wanted is None:
        return None
    if wanted == "synthetic":
        return {"format": wanted, "samples": samples}
    return flags.read.source(wanted, "calibration")


def _calibrator(name: str, percentile: float | None) -> Any:  # noqa: ANN401
    return name if percentile is None else {"name": name, "percentile": percentile}


def _recovery(wanted: str) -> dict[str, Any]:
    if wanted not in {"all", "none"}:
        raise InputError(unknown_name("recovery", wanted, ["all", "none"]), where="--recovery")
    if wanted == "all":
        return {}
    return {"equalize": False, "bias_correction": False, "rounding": "nearest"}
