"""Write the run folder's records: ``results.json`` first, everything else from it."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from squeeze.core import cpu
from squeeze.core.errors import InputError
from squeeze.recipe import document, schemes
from squeeze.recipe.schema import Recipe
from squeeze.report import html, markdown
from squeeze.results import Results, Row
from squeeze.store import write_text

RESULTS = "results.json"


def recipe(chosen: Recipe, folder: Path) -> None:
    """Write ``recipe.resolved.yaml``, with every default spelled out."""
    plain = chosen.model_dump(mode="json", by_alias=True)
    write_text(folder / "recipe.resolved.yaml", document.dump(plain))


def everything(results: Results, folder: Path) -> None:
    """Write the record and render it."""
    write_text(folder / RESULTS, results.model_dump_json(indent=1))
    write_text(folder / "environment.json", json.dumps(results.environment, indent=1))
    render(results, folder)


def render(results: Results, folder: Path) -> None:
    """Write ``report.md`` and ``report.html``."""
    write_text(folder / "report.md", markdown.render(results))
    write_text(folder / "report.html", html.render(results))


def read(folder: Path) -> Results:
    """Read a run's record.

    Raises:
        InputError: The folder holds none, or one of another version.
    """
    try:
        return Results.model_validate_json((folder / RESULTS).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"holds no {RESULTS}", where=str(folder), hint="name the folder of a finished run"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{RESULTS} cannot be read: {where}: {first['msg']}", where=str(folder)
        ) from error


def warnings(rows: Iterable[Row], noticed: Iterable[str]) -> Iterator[str]:
    """Yield what a reader must know before trusting the figures."""
    yield from noticed
    rows = [row for row in rows if row.skipped is None]
    noisy = sorted(
        {
            f"{row.target} {row.state}"
            for row in rows
            if row.latency is not None and row.latency.noisy
        }
    )
    if noisy:
        yield (
            f"Noisy timings (interquartile range over 10 % of the median): {', '.join(noisy)}. "
            "The machine was busy; trust the ratio's interval, not the milliseconds."
        )
    for row in rows:
        if _is_quantized(row) and row.speedup is not None:
            yield from _quantized(
                row,
                [
                    other
                    for other in rows
                    if (other.target, other.batch_size) == (row.target, row.batch_size)
                ],
            )
    for made_for in dict.fromkeys(row.made_for for row in rows if row.made_for):
        yield (
            f"The targets for {made_for} were measured on this host, whose kernels are others "
            f"({cpu.host().kernels}): latency belongs to the hardware, and so do the speed-up and "
            "the kernel coverage; accuracy may differ where one of them saturates."
        )
    if any(row.runtime == "litert" for row in rows):
        yield (
            "LiteRT was timed on this host's processor, which is no phone: its ratios do not "
            "carry over to one."
        )


def _is_quantized(row: Row) -> bool:
    """Whether the row is of a quantize step; a target's own precision is not."""
    return schemes.is_int8(row.precision) or (
        row.precision in {"fp16", "bf16"} and row.artifact is not None
    )


def _quantized(row: Row, group: list[Row]) -> Iterator[str]:
    before = [other for other in group if other.precision != row.precision][-1:]
    storage_only = schemes.half_warning(
        row.precision, row.runtime, cpu.named(row.made_for or "host")
    )
    if storage_only is not None:
        yield f"{row.target}: {storage_only}."
        return
    if (
        row.made_for is None
        and before
        and before[0].latency
        and row.latency
        and (row.latency.median_s > before[0].latency.median_s)
    ):
        yield (
            f"{row.target}: {row.precision} is slower here than the float model it was made from "
            f"({1e3 * row.latency.median_s:.3g} against "
            f"{1e3 * before[0].latency.median_s:.3g} ms): its gain is size, not speed."
        )
    if row.coverage is not None and row.coverage.survivors:
        yield (
            f"{row.target}: {len(row.coverage.survivors)} of {row.coverage.total} convolutions "
            "and matrix products of the int8 file run in float."
        )
