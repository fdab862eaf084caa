"""``squeeze inspect layers``: where a quantized file departs from the float one."""

import json as json_format
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import data_flags, flag_names, options
from squeeze.cli.flag_groups import FileInputFlags

if TYPE_CHECKING:
    from squeeze.measure.layers import Compared

_MOST = 32
"""Images: enough for sums over whole activations."""
_SHOWN = 10
_PLACES = flag_names.OF_FILES | {"data.validation": "--data"}


def layers(
    reference: Annotated[
        Path, typer.Argument(metavar="FLOAT_FILE", help="The float .onnx or .tflite file.")
    ],
    quantized: Annotated[
        Path, typer.Argument(metavar="QUANTIZED_FILE", help="The file that was quantized from it.")
    ],
    *,
    data: Annotated[str, typer.Option(help=f"Images to run both files on: {options.HELP_DATA}")],
    samples: Annotated[int, typer.Option(help="Number of images.", min=2, max=_MOST)] = _MOST,
    plot: Annotated[Path | None, typer.Option(help="Also draw the layers into this PNG.")] = None,
    read: data_flags.DataFlags,
    fed: FileInputFlags,
    quiet: options.Quiet = False,
    json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Compare a quantized file with its float file, layer by layer.

    Every activation that both files have is compared; the worst comes first.
    """
    del debug
    from squeeze.api.data import given_data
    from squeeze.api.layers import compare_layers, fed_alike
    from squeeze.cli import console
    from squeeze.cli.measured_files import wording

    file = fed_alike(reference, quantized, fed.given(), wording())
    for warning in file.warnings:
        console.note(warning)
    with flag_names.naming_flags(_PLACES):
        images = given_data(read.checked(data, "--data"), "validation")
        terminal = console.Terminal(quiet=quiet)
        comparison = compare_layers((reference, quantized), file, images, samples, terminal)
    if plot is not None:
        _plot(comparison, plot)
    if json:
        console.out(json_format.dumps(_finite(comparison), indent=1))
    else:
        _print(comparison)


def _plot(comparison: "Compared", path: Path) -> None:
    from squeeze.report import plots
    from squeeze.store import new_file

    in_order = sorted(comparison.layers, key=lambda layer: layer.position)
    with new_file(path) as inside:
        plots.layers([(layer.name, layer.sqnr_db, layer.cosine) for layer in in_order], inside)


def _finite(comparison: "Compared") -> dict[str, object]:
    """Return plain data; what is not finite becomes null, which JSON has no numbers for."""
    rows = [
        {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(layer).items()
        }
        for layer in comparison.layers
    ]
    return asdict(comparison) | {"layers": rows}


def _print(comparison: "Compared") -> None:
    from squeeze.cli import console

    rows = [
        [layer.name, layer.op, str(layer.position), f"{layer.sqnr_db:.1f}", f"{layer.cosine:.5f}"]
        for layer in comparison.layers
    ]
    console.table(["Activation, worst first", "Made by", "Place", "SQNR, dB", "Cosine"], rows)
    total = len(comparison.layers) + len(comparison.only_float) + len(comparison.clashing)
    console.out(
        f"{len(comparison.layers)} of {total} activations of the float file were matched by name "
        f"and compared on {comparison.images} images"
    )
    if comparison.inside:
        console.out(
            f"not compared, inside of branches and loop bodies: {comparison.inside} operators of "
            "the float file, whose activations cannot be read"
        )
    sizes = [
        f"{name} ({ours} against {theirs})" for name, (ours, theirs) in comparison.clashing.items()
    ]
    for names, where in (
        (tuple(sizes), "same name but another number of values"),
        (comparison.only_float, "float file only (fused or renamed in the other)"),
        (comparison.only_quantized, "quantized file only"),
    ):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            console.out(f"not compared, {where}: {', '.join(names[:_SHOWN])}{more}")
