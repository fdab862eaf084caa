"""``squeeze export``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import options

if TYPE_CHECKING:
    from squeeze.models.types import Model
    from squeeze.runtimes.runtime import Runtime

_RANDOM = 4


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
    from squeeze.cli import console

    runtimes = _runtimes(to, nms=nms)
    from squeeze.cli.file import open_file
    from squeeze.core.errors import InputError
    from squeeze.exporting import file
    from squeeze.models.bundle import load
    from squeeze.tasks.detection import nms_file

    terminal, model = console.Terminal(quiet=quiet), load(bundle)
    name = bundle.resolve().name
    paths = [output / file.name_of(name, each.spec, batch_size) for each in runtimes]
    if nms:
        nms_file.spec_of(model)
        ending = [path for path, each in zip(paths, runtimes, strict=True) if _ends(each)]
        paths += [nms_file.path_of(path) for path in ending]
    for path in paths:
        if path.exists():
            raise InputError("exists already", where=str(path), hint="choose another --output")
    for each in runtimes:
        with terminal.task(f"exporting {each.spec.kind}", 1) as advance:
            path = file.write(name, model, each, batch_size, output, None)
            advance()
        try:
            difference = file.difference(open_file(path).load(), path, model, batch_size)
        except BaseException:
            for written in (path, path.with_name(path.name + ".json")):
                written.unlink(missing_ok=True)  # a file that is not the model is no result
            raise
        console.out(f"file    {path} ({difference:.1e} from torch on random images)")
        if nms and _ends(each):
            console.out(_with_nms(path, model))


def _runtimes(to: list[str], *, nms: bool) -> "list[Runtime]":
    """Return the runtimes of file types."""
    from squeeze.core import specs
    from squeeze.core.errors import InputError, unknown_name
    from squeeze.runtimes import runtime

    known = {spec.kind: name for name, spec in specs.runtimes().items() if spec.kind}
    for kind in to:
        if kind not in known:
            raise InputError(unknown_name("file type", kind, known), where="--to")
    found = [runtime.load(known[kind]) for kind in to]
    if nms and not any(map(_ends, found)):
        kinds = [kind for kind, name in known.items() if _ends(runtime.load(name))]
        raise InputError(f"goes with --to {' or '.join(kinds)}", where="--nms")
    return found


def _ends(runtime: "Runtime") -> bool:
    return runtime.spec.ends_at_boxes


def _with_nms(path: Path, model: "Model") -> str:
    """Write the file that ends at boxes and return the line about it."""
    import numpy as np

    from squeeze.tasks.detection import nms_file

    shape = (_RANDOM, *model.input.shape)
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    found = nms_file.write(path, model, images)
    return (
        f"file    {found.path} ({found.shared:.1%} of {found.detections} detections in random "
        "images as squeeze decodes them)"
    )
