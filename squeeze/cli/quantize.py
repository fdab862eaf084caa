"""``squeeze quantize``."""

from typing import Annotated, Any

import typer

from squeeze.cli import one_step
from squeeze.core.errors import InputError, unknown_name


def quantize(
    flags: one_step.Flags,
    calibration: Annotated[
        str | None,
        typer.Option(
            help="Calibration data of its own, named like --validation; synthetic: made-up images, "
            "where there are none."
        ),
    ] = None,
    calibration_samples: Annotated[
        int,
        typer.Option(
            help="Without --calibration: so many are drawn from --train, or else taken out of "
            "--validation.",
            min=1,
        ),
    ] = 128,
    scheme: Annotated[
        str,
        typer.Option(
            help="static_int8, dynamic_int8, weight_only_int8, static_int8_int16, fp16 or bf16."
        ),
    ] = "static_int8",
    backend: Annotated[
        str,
        typer.Option(help="auto: the one of each target; neural_compressor (ONNX Runtime only)."),
    ] = "auto",
    autotune: Annotated[
        float | None,
        typer.Option(
            metavar="MAX_DROP",
            help="neural_compressor tries its configurations until one loses at most this much "
            "top-1 on the calibration images.",
            min=0,
        ),
    ] = None,
    weight_bits: Annotated[
        str, typer.Option(help="auto, 7 or 8; auto decides by this CPU (ONNX Runtime).")
    ] = "auto",
    calibrator: Annotated[
        str, typer.Option(help="How ranges come from the samples: squeeze list calibrators.")
    ] = "image_percentile",
    percentile: Annotated[
        float | None, typer.Option(help="Of a calibrator that has one; its own default.")
    ] = None,
    keep_float: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Layers that run in float: a pattern of module paths or a class; may be repeated.",
        ),
    ] = None,
    mixed_precision: Annotated[
        float | None,
        typer.Option(
            metavar="MAX_DROP",
            help="Keep the fewest layers in float that bring the loss of accuracy, measured on "
            "training or calibration images, down to this (0.005 is half a point).",
            min=0,
        ),
    ] = None,
    recovery: Annotated[
        str,
        typer.Option(
            help="all: equalize channels, round weights by what they do to their layer's outputs, "
            "correct biases; none. Each alone: a recipe's steps.0.recovery."
        ),
    ] = "all",
) -> None:
    """Quantize the exported files, measure, audit the kernels, report."""
    if scheme == "qat_int8":
        raise InputError(
            "trains, which takes more settings than there are flags",
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
        drawn = None  # taken out of validation for nothing that must be had
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
        _calibration(calibration, calibration_samples) or drawn,
    )


def _calibration(wanted: str | None, samples: int) -> Any:  # noqa: ANN401
    return {"format": wanted, "samples": samples} if wanted == "synthetic" else wanted


def _calibrator(name: str, percentile: float | None) -> Any:  # noqa: ANN401
    return name if percentile is None else {"name": name, "percentile": percentile}


def _recovery(wanted: str) -> dict[str, Any]:
    if wanted not in {"all", "none"}:
        raise InputError(unknown_name("recovery", wanted, ["all", "none"]), where="--recovery")
    if wanted == "all":
        return {}
    return {"equalize": False, "bias_correction": False, "rounding": "nearest"}
