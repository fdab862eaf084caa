"""``squeeze inspect layers``: where a quantized file departs from the float one."""

import json as json_format
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import options
from squeeze.core.errors import InputError

if TYPE_CHECKING:
    from squeeze.cli.console import Terminal
    from squeeze.cli.file import File
    from squeeze.data.splits import Split
    from squeeze.measure.layers import Compared

_MOST = 32
_SHOWN = 10


@dataclass(frozen=True)
class ComparedImages:
    """What the two files are run on.

    Attributes:
        data: Named as for squeeze prune.
        samples: At most so many; 32 are enough for sums over whole activations.
        shape: Of ``--input``, which makes either file's description unnecessary.
    """

    data: str
    samples: int
    shape: str | None


def layers(
    reference: Annotated[
        Path, typer.Argument(metavar="FLOAT_FILE", help="The float .onnx or .tflite file.")
    ],
    quantized: Annotated[
        Path, typer.Argument(metavar="QUANTIZED_FILE", help="The file that was quantized from it.")
    ],
    data: Annotated[str, typer.Option(help=f"Images to run both files on: {options.HELP_DATA}")],
    samples: Annotated[int, typer.Option(help="Number of images.", min=2, max=_MOST)] = _MOST,
    plot: Annotated[Path | None, typer.Option(help="Also draw the layers into this PNG.")] = None,
    input: options.Shape = None,
    mean: options.Mean = None,
    std: options.Std = None,
    crop_fraction: options.CropFraction = None,
    fit: options.Fit = None,
    interpolation: options.Interpolation = None,
    layout: options.Layout = None,
    channel_order: options.ChannelOrder = None,
    quiet: options.Quiet = False,
    json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Compare a quantized file with its float file, layer by layer.

    Every activation that both files have is compared; the worst comes first.
    """
    del debug
    from squeeze.cli import console
    from squeeze.cli.file import open_file
    from squeeze.cli.inspect_int8 import runtime
    from squeeze.measure import layers as activations

    others = {
        "crop_fraction": crop_fraction,
        "fit": fit,
        "interpolation": interpolation,
        "layout": layout,
        "channel_order": channel_order,
    }
    if reference.suffix != quantized.suffix:
        raise InputError(
            f"cannot be compared with {quantized.name}: give two .onnx or two .tflite files",
            where=str(reference),
        )
    for path in (reference, quantized):
        runtime(path, "squeeze inspect layers")
    images = ComparedImages(data, samples, input)
    described = _described(reference, quantized, images)
    file = open_file(described, input, mean, std, others=others)
    for warning in file.warnings:
        console.note(warning)
    for path in (reference, quantized):
        _check(path, file)
    terminal = console.Terminal(quiet=quiet)
    split = _split(images, file, terminal)
    terminal.say(file.fed(split.spec).summary())
    batches = (batch for batch, _ in split.batches(1))
    opened = [activations.open_activations(path, file.layout) for path in (reference, quantized)]
    found = activations.compare(opened[0], opened[1], batches)
    if plot is not None:
        _plot(found, plot)
    if json:
        console.out(json_format.dumps(_finite(found), indent=1))
    else:
        _print(found)


def _described(reference: Path, quantized: Path, images: ComparedImages) -> Path:
    """Return the file whose description tells the input; either will do."""
    from squeeze.exporting import embedded

    for path in (reference, quantized):
        is_described = path.with_name(path.name + ".json").is_file() or embedded.read(path)
        if is_described and images.shape is None:
            return path
    return reference


def _check(path: Path, described: "File") -> None:
    """Run a file once, so that an input that does not fit is reported plainly."""
    from dataclasses import replace

    replace(described, path=path).open_session(1).close()


def _split(images: ComparedImages, file: "File", terminal: "Terminal") -> "Split":
    from squeeze.data.sets import Opening, open_data
    from squeeze.recipe.schema import DataBlock, DataSource

    block = DataBlock(validation=DataSource.model_validate(images.data))
    opening = Opening(Path.cwd(), file.spec, 0, terminal, classes=file.classes)
    whole = open_data(block, opening, trains=False, calibrates=False).validation
    count = min(images.samples, _MOST, len(whole))
    return whole.take([i * len(whole) // count for i in range(count)])


def _plot(found: "Compared", path: Path) -> None:
    from squeeze.report import plots
    from squeeze.store import new_file

    in_order = sorted(found.layers, key=lambda layer: layer.position)
    with new_file(path) as inside:
        plots.layers([(layer.name, layer.sqnr_db, layer.cosine) for layer in in_order], inside)


def _finite(found: "Compared") -> dict[str, object]:
    """Return plain data; what is not finite becomes null, which JSON has no numbers for."""
    rows = [
        {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(layer).items()
        }
        for layer in found.layers
    ]
    return asdict(found) | {"layers": rows}


def _print(found: "Compared") -> None:
    from squeeze.cli import console

    rows = [
        [layer.name, layer.op, str(layer.position), f"{layer.sqnr_db:.1f}", f"{layer.cosine:.5f}"]
        for layer in found.layers
    ]
    console.table(["Activation, worst first", "Made by", "Place", "SQNR, dB", "Cosine"], rows)
    total = len(found.layers) + len(found.only_float) + len(found.clashing)
    console.out(
        f"{len(found.layers)} of {total} activations of the float file were matched by name and "
        f"compared on {found.images} images"
    )
    if found.inside:
        console.out(
            f"not compared, inside of branches and loop bodies: {found.inside} operators of the "
            "float file, whose activations cannot be read"
        )
    sizes = [f"{name} ({ours} against {theirs})" for name, (ours, theirs) in found.clashing.items()]
    for names, where in (
        (tuple(sizes), "same name but another number of values"),
        (found.only_float, "float file only (fused or renamed in the other)"),
        (found.only_quantized, "quantized file only"),
    ):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            console.out(f"not compared, {where}: {', '.join(names[:_SHOWN])}{more}")
