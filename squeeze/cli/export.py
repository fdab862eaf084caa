"""``squeeze export``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import options
from squeeze.core import specs
from squeeze.core.errors import InputError, unknown_name

if TYPE_CHECKING:
    from squeeze.api.results import ExportResult


def export(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder.")],
    to: Annotated[list[str], typer.Option(help="onnx or tflite; may be repeated.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write the files to.")
    ] = Path(),
    batch_size: options.BatchSize = 1,
    nms: Annotated[
        bool,
        typer.Option(
            help="For detectors, with --to onnx: also write NAME.nms.onnx, which outputs boxes."
        ),
    ] = False,
    quiet: options.Quiet = False,
    allow_code: options.AllowCode = None,
    debug: options.Debug = False,
) -> None:
    """Export a bundle to .onnx or .tflite files.

    A description of the input is written into each file and into a JSON file beside it.
    """
    del debug, allow_code
    _check(to, nms=nms)
    from squeeze.api.export import export_each
    from squeeze.cli import console

    results = export_each(
        bundle,
        None,
        to,
        output=output,
        name=bundle.resolve().name,
        batch_size=batch_size,
        nms=nms,
        progress=console.Terminal(quiet=quiet),
    )
    for result in results:
        _print(result)


def _check(to: list[str], *, nms: bool) -> None:
    """Refuse types of files that there are not, and ``--nms`` without one that may end at boxes."""
    known = {spec.kind: spec for spec in specs.runtimes().values() if spec.kind}
    for kind in to:
        if kind not in known:
            raise InputError(unknown_name("file type", kind, known), where="--to")
    if nms and not any(known[kind].ends_at_boxes for kind in to):
        kinds = [kind for kind, spec in known.items() if spec.ends_at_boxes]
        raise InputError(f"goes with --to {' or '.join(kinds)}", where="--nms")


def _print(result: "ExportResult") -> None:
    from squeeze.cli import console

    path, boxes = result.files[0], result.boxes
    console.out(f"file    {path} ({result.difference:.1e} from torch on random images)")
    if boxes is not None:
        console.out(
            f"file    {boxes.path} ({boxes.shared:.1%} of {boxes.detections} detections in random "
            "images as squeeze decodes them)"
        )
