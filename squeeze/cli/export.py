"""``squeeze export``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import options

if TYPE_CHECKING:
    from squeeze.models.factory import Model

_RANDOM = 4


def export(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder.")],
    to: Annotated[list[str], typer.Option(help="onnx or tflite; may be repeated.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")] = Path(),
    batch_size: options.BatchSize = 1,
    nms: Annotated[
        bool,
        typer.Option(help="Of detectors, beside onnx: also NAME.nms.onnx, which ends at boxes."),
    ] = False,
    quiet: options.Quiet = False,
    allow_code: options.AllowCode = None,
    debug: options.Debug = False,
) -> None:
    """Export a bundle to the files that ship, each with a description of its input."""
    del debug, allow_code
    from squeeze.cli import console

    _check(to, nms=nms)
    from squeeze.cli.file import open_file
    from squeeze.core.errors import InputError
    from squeeze.export import file
    from squeeze.models.bundle import load
    from squeeze.tasks import nms_file

    terminal, model = console.Terminal(quiet=quiet), load(bundle)
    name = bundle.resolve().name
    paths = [output / file.name_of(name, kind, batch_size) for kind in to]
    if nms:
        nms_file.spec_of(model)
        paths.append(nms_file.path_of(output / file.name_of(name, "onnx", batch_size)))
    for path in paths:
        if path.exists():
            raise InputError("exists already", where=str(path), hint="choose another --output")
    for kind in to:
        with terminal.task(f"exporting {kind}", 1) as advance:
            path = file.write(name, model, kind, batch_size, output, None)
            advance()
        try:
            difference = file.difference(open_file(path).load(), path, model, batch_size)
        except BaseException:
            for written in (path, path.with_name(path.name + ".json")):
                written.unlink(missing_ok=True)  # a file that is not the model is no result
            raise
        console.out(f"file    {path} ({difference:.1e} from torch on random images)")
        if nms and kind == "onnx":
            console.out(_with_nms(path, model))


def _check(to: list[str], *, nms: bool) -> None:
    from squeeze.core.errors import InputError, unknown_name

    for kind in to:
        if kind not in {"onnx", "tflite"}:
            raise InputError(unknown_name("file type", kind, ["onnx", "tflite"]), where="--to")
    if nms and "onnx" not in to:
        raise InputError("goes with --to onnx", where="--nms")


def _with_nms(path: Path, model: "Model") -> str:
    """Write the file that ends at boxes and return the line about it."""
    import numpy as np

    from squeeze.tasks import nms_file

    shape = (_RANDOM, *model.input.shape)
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    found = nms_file.write(path, model, images)
    return (
        f"file    {found.path} ({found.shared:.1%} of {found.detections} detections in random "
        "images as squeeze decodes them)"
    )
