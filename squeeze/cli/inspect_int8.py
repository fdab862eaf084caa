"""``squeeze inspect int8``: which kernels run a file, and why it is slow or big."""

import json as json_format
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import options
from squeeze.core import reading
from squeeze.core.errors import InputError

if TYPE_CHECKING:
    from squeeze.runtimes.base import Audit
    from squeeze.runtimes.runtime import Runtime


def int8(
    file: Annotated[Path, typer.Argument(help="An .onnx or .tflite file, whoever made it.")],
    json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Show which kernels run a file in int8, and why others do not."""
    del debug
    from squeeze.cli import console

    kernels = runtime(file, "squeeze inspect int8")
    if not kernels.audits:
        raise InputError(f"{kernels.name} does not show which kernels run", where=str(file))
    found = kernels.audit(file)
    if json:
        console.out(json_format.dumps({"file": str(file)} | asdict(found), indent=1))
        return
    console.out(in_short(found))
    if found.delegated is not None:
        console.out("{} of {} operators of the main graph run in XNNPACK".format(*found.delegated))
    for title, nodes in (
        ("Not in integers", [*found.coverage.survivors, *found.islands]),
        ("Integer but slow", found.coverage.slow),
    ):
        if nodes:
            console.table([title, "Operator", "Why"], [[n.name, n.op, n.reason] for n in nodes])
    console.out(f"nodes that only convert: {counted(found.coverage.conversions)}")
    console.out(f"weights, scales and biases by type: {stored(found)}")
    console.out(f"activations by type: {counted(found.activations)}")
    console.out(f"file size: {found.size_bytes:,} bytes")
    console.out("\n" + "\n".join(found.advice))


def in_short(found: "Audit") -> str:
    """Return how much of a file runs in int8, in one line."""
    coverage = found.coverage
    convolutions = "{} of {}".format(*coverage.convolutions)
    rest = f", {len(coverage.slow)} in integers but slowly" if coverage.slow else ""
    return (
        f"{coverage.int8} of {coverage.total} convolutions and matrix products run in int8 "
        f"kernels ({convolutions} convolutions){rest}"
    )


def stored(found: "Audit") -> str:
    """Return what a file's constants take, by type, the largest first."""
    weights = ", ".join(
        f"{kind} {held.size_bytes:,} bytes in {held.tensors}"
        for kind, held in sorted(found.weights.items(), key=lambda item: -item[1].size_bytes)
    )
    return weights or "none"


def runtime(path: Path, flag: str) -> "Runtime":
    """Return the runtime of a file, recognised by its suffix.

    Raises:
        InputError: No such file, of another kind, or its runtime is not installed.
    """
    from squeeze.core import specs, text
    from squeeze.exporting import file
    from squeeze.runtimes import runtime as runtimes

    where = reading.shortened(path)
    found = runtimes.of_file(path)
    if found is None:
        kinds = text.listed(specs.file_suffixes(), "and")
        raise InputError(f"{flag} looks into {kinds} files", where=where)
    if not reading.is_file(path):
        raise InputError("no such file", where=where)
    file.refuse_changed(path)
    return runtimes.installed(found.name, where=where)


def counted(counts: Mapping[str, int]) -> str:
    """Return counts by name, in words."""
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"
