"""Write the run folder's records: ``results.json`` first, everything else from it."""

import json
from pathlib import Path

from pydantic import ValidationError

from squeeze.core.errors import InputError
from squeeze.recipe import document, paths
from squeeze.recipe.schema import Recipe
from squeeze.report import html, markdown
from squeeze.results import Results
from squeeze.store import write_text

RESULTS = "results.json"


def recipe(chosen: Recipe, start: Path, folder: Path) -> None:
    """Write ``recipe.resolved.yaml``, with every default spelled out.

    Args:
        chosen: The recipe.
        start: The folder where its paths start.
        folder: The run's folder, where those of the file start.
    """
    plain = paths.moved(chosen, start, folder).model_dump(mode="json", by_alias=True)
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
