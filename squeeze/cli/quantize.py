"""``squeeze quantize``."""

from typing import Annotated

import typer

from squeeze.cli import one_step


def quantize(
    flags: one_step.Flags,
    calibration: Annotated[
        str | None, typer.Option(help="Calibration data of its own, named like --validation.")
    ] = None,
    calibration_samples: Annotated[
        int,
        typer.Option(
            help="Without --calibration: so many are drawn from --train, or else taken out of "
            "--validation.",
            min=1,
        ),
    ] = 128,
    scheme: Annotated[str, typer.Option(help="What to quantize to.")] = "static_int8",
    backend: Annotated[str, typer.Option(help="auto: the one of each target.")] = "auto",
    weight_bits: Annotated[
        str, typer.Option(help="auto, 7 or 8; auto decides by this CPU (ONNX Runtime).")
    ] = "auto",
    range_percentile: Annotated[
        float, typer.Option(help="Per-image ranges are merged at this percentile; 0 is min-max.")
    ] = 10.0,
    equalize: Annotated[
        bool, typer.Option(help="Scale channels so that all of them use the 8 bits.")
    ] = True,
    bias_correction: Annotated[
        bool, typer.Option(help="Undo what rounding weights does to the mean of outputs.")
    ] = True,
    rounding: Annotated[
        str, typer.Option(help="adaptive (by what it does to a layer's outputs) or nearest.")
    ] = "adaptive",
) -> None:
    """Quantize the exported files to int8, measure, audit the kernels, report."""
    has_train = "train" in flags.recipe["data"]
    drawn = {"from": "train" if has_train else "validation", "samples": calibration_samples}
    bits = int(weight_bits) if weight_bits.isdigit() else weight_bits
    one_step.run(
        flags,
        {
            "method": "quantize",
            "scheme": scheme,
            "backend": backend,
            "weight_bits": bits,
            "range_percentile": range_percentile,
            "recovery": {
                "equalize": equalize,
                "bias_correction": bias_correction,
                "rounding": rounding,
            },
        },
        calibration or drawn,
    )
