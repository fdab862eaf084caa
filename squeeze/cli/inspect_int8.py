"""``squeeze inspect --int8``: which kernels run a file, and why it is slow or big."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.core import reading
from squeeze.core.errors import InputError

if TYPE_CHECKING:
    from squeeze.runtimes.runtime import Runtime


def show(path: Path, *, as_json: bool) -> None:
    """Audit a file in its runtime and print what was found.

    Raises:
        InputError: No such file, of another kind, damaged, or its runtime is not installed.
    """
    from squeeze.cli import console

    kernels = runtime(path, "--int8")
    if not kernels.audits:
        raise InputError(f"{kernels.name} does not show which kernels run", where=str(path))
    found = kernels.audit(path)
    if as_json:
        console.out(json.dumps({"file": str(path)} | asdict(found), indent=1))
        return
    coverage = found.coverage
    convolutions = "{} of {}".format(*coverage.convolutions)
    rest = f", {len(coverage.slow)} in integers but slowly" if coverage.slow else ""
    console.out(
        f"{coverage.int8} of {coverage.total} convolutions and matrix products run in int8 "
        f"kernels ({convolutions} convolutions){rest}"
    )
    if found.delegated is not None:
        console.out("{} of {} operators of the main graph run in XNNPACK".format(*found.delegated))
    for title, nodes in (
        ("Not in integers", [*coverage.survivors, *found.islands]),
        ("Integer but slow", coverage.slow),
    ):
        if nodes:
            console.table([title, "Operator", "Why"], [[n.name, n.op, n.reason] for n in nodes])
    console.out(f"converting nodes: {_counted(coverage.conversions)}")
    weights = ", ".join(
        f"{kind} {held.size_bytes:,} bytes in {held.tensors}"
        for kind, held in sorted(found.weights.items(), key=lambda item: -item[1].size_bytes)
    )
    console.out(f"weights, scales and biases by type: {weights or 'none'}")
    console.out(f"activations by type: {_counted(found.activations)}")
    console.out(f"file: {found.size_bytes:,} bytes")
    console.out("\n" + "\n".join(found.advice))


def runtime(path: Path, flag: str) -> "Runtime":
    """Return the runtime of a file, recognised by its suffix.

    Raises:
        InputError: No such file, of another kind, or its runtime is not installed.
    """
    from squeeze.core import specs, text
    from squeeze.export import file
    from squeeze.runtimes import runtime as runtimes

    where = reading.shortened(path)
    found = runtimes.of_file(path)
    if found is None:
        kinds = text.listed(specs.file_suffixes(), "and")
        raise InputError(f"{flag} looks into {kinds} files", where=where)
    if not reading.is_file(path):
        raise InputError("no such file", where=where)
    file.refuse_changed(path)
    reason = found.unavailable("cpu")
    if reason is not None:
        raise InputError(reason, where=where)
    return found


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"
