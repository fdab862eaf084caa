"""``squeeze inspect int8``: which kernels run a file, and why it is slow or big."""

import json as json_format
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import options

if TYPE_CHECKING:
    from squeeze.runtimes.base import Audit


def int8(
    file: Annotated[Path, typer.Argument(help="An .onnx or .tflite file, whoever made it.")],
    json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Show which kernels run a file in int8, and why others do not."""
    del debug
    from squeeze.api.inspect import file_summary
    from squeeze.cli import console

    audit = file_summary(file).audit
    if json:
        console.out(json_format.dumps({"file": str(file)} | asdict(audit), indent=1))
        return
    console.out(coverage_summary(audit))
    if audit.delegated is not None:
        console.out("{} of {} operators of the main graph run in XNNPACK".format(*audit.delegated))
    for title, nodes in (
        ("Not in integers", [*audit.coverage.survivors, *audit.islands]),
        ("Integer but slow", audit.coverage.slow),
    ):
        if nodes:
            console.table([title, "Operator", "Why"], [[n.name, n.op, n.reason] for n in nodes])
    console.out(f"nodes that only convert: {counted(audit.coverage.conversions)}")
    console.out(f"weights, scales and biases by type: {stored(audit)}")
    console.out(f"activations by type: {counted(audit.activations)}")
    console.out(f"file size: {audit.size_bytes:,} bytes")
    console.out("\n" + "\n".join(audit.advice))


def coverage_summary(audit: "Audit") -> str:
    """Return how much of a file runs in int8, in one line."""
    coverage = audit.coverage
    convolutions = "{} of {}".format(*coverage.convolutions)
    rest = f", {len(coverage.slow)} in integers but slowly" if coverage.slow else ""
    return (
        f"{coverage.int8} of {coverage.total} convolutions and matrix products run in int8 "
        f"kernels ({convolutions} convolutions){rest}"
    )


def stored(audit: "Audit") -> str:
    """Return what a file's constants take, by type, the largest first."""
    weights = ", ".join(
        f"{kind} {held.size_bytes:,} bytes in {held.tensors}"
        for kind, held in sorted(audit.weights.items(), key=lambda item: -item[1].size_bytes)
    )
    return weights or "none"


def counted(counts: Mapping[str, int]) -> str:
    """Return counts by name, in words."""
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"
