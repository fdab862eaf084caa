"""Write the run folder's records: ``results.json`` first, everything else from it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from squeeze.core import plugins
from squeeze.core.errors import InputError, SqueezeError, cause_of, unknown_name
from squeeze.recipe import document, paths
from squeeze.recipe.schema import Recipe
from squeeze.report import html, markdown
from squeeze.results import Results
from squeeze.store import RECIPE, checksums, write_text

RESULTS = "results.json"


def recipe(chosen: Recipe, start: Path, folder: Path) -> None:
    """Write ``recipe.resolved.yaml``, with every default spelled out.

    Args:
        chosen: The recipe.
        start: The folder where its paths start.
        folder: The run's folder, where those of the file start.
    """
    plain = paths.moved(chosen, start, folder).model_dump(mode="json", by_alias=True)
    write_text(folder / RECIPE, document.dump(plain))


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
        InputError: The folder holds none, or one of another version, or of a task that is not
            installed here.
    """
    try:
        results = Results.model_validate_json((folder / RESULTS).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"holds no {RESULTS}", where=str(folder), hint="name the folder of a finished run"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        what = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
        raise InputError(
            f"{RESULTS} cannot be read: {what}",
            where=str(folder),
            hint="it is damaged, edited, or from another version of squeeze: run the recipe again",
        ) from error
    known = plugins.names(plugins.TASKS)
    if results.task not in known:
        raise InputError(
            unknown_name("task", results.task, known),
            where=str(folder / RESULTS),
            hint="install the package that adds this task",
        )
    return results


def changes(folder: Path) -> list[str]:
    """Return which files of a run were changed since, or that this cannot be checked."""
    try:
        sums = checksums.read_sums(folder)
    except InputError as error:
        return [str(error)]
    if sums is None:
        return [f"The run has no {checksums.SUMS}: changes to {RESULTS} cannot be detected."]
    there = {name: digest for name, digest in sums.items() if (folder / name).exists()}
    return [f"Changed after the run: {fault}." for fault in checksums.faults(folder, there)]


@contextmanager
def rendering(folder: Path, changed: list[str]) -> Iterator[None]:
    """Turn errors that an edited record causes in the block into one that names it.

    Raises:
        InputError: The record's parts do not belong together.
    """
    try:
        yield
    except (SqueezeError, OSError):
        raise
    except Exception as error:
        if not changed:
            raise
        raise InputError(
            f"its parts do not fit together: {cause_of(error)}",
            where=str(folder / RESULTS),
            hint="it was changed after the run: restore the original",
        ) from error
