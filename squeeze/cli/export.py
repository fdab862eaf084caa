"""``squeeze export``."""

from pathlib import Path
from typing import Annotated

import typer

from squeeze.cli import options


def export(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder.")],
    to: Annotated[list[str], typer.Option(help="onnx or tflite; may be repeated.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")] = Path(),
    batch_size: options.BatchSize = 1,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Export a bundle to the files that ship, each with a description of its input."""
    del debug
    from squeeze.cli import console
    from squeeze.core.errors import InputError, unknown_name

    for kind in to:
        if kind not in {"onnx", "tflite"}:
            raise InputError(unknown_name("file type", kind, ["onnx", "tflite"]), where="--to")
    from squeeze.cli.file import open_file
    from squeeze.export import file
    from squeeze.sources.bundle import load

    terminal, model = console.Terminal(quiet=quiet), load(bundle)
    name = bundle.resolve().name
    for kind in to:
        path = output / file.name_of(name, kind, batch_size)
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
                written.unlink()  # a file that is not the model is no result
            raise
        console.out(f"file    {path} ({difference:.1e} from torch on random images)")
