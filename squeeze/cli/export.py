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
    from squeeze import files
    from squeeze.cli.file import open_file
    from squeeze.sources.bundle import load

    terminal, model = console.Terminal(quiet=quiet), load(bundle)
    name = bundle.resolve().name
    for kind in to:
        path = output / f"{name}{f'.b{batch_size}' if kind == 'tflite' and batch_size > 1 else ''}"
        if path.with_name(f"{path.name}.{kind}").exists():
            raise InputError("exists already", where=f"{path}.{kind}")
    for kind in to:
        with terminal.task(f"exporting {kind}", 1) as advance:
            path = files.export_file(name, model, kind, batch_size, output, None)
            advance()
        difference = files.check_export(open_file(path).load(), path, model, batch_size)
        console.out(f"file    {path} ({difference:.1e} from torch on random images)")
