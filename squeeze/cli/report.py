"""``squeeze report``."""

from pathlib import Path
from typing import Annotated

import typer

from squeeze.cli import options


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Render a run's reports again from its results.json."""
    del debug
    from squeeze.cli import console
    from squeeze.report import write

    results = write.read(run)
    write.render(results, run)
    if json:
        console.out(results.model_dump_json(indent=1))
    else:
        console.summary(results)
        console.out(f"report  {run / 'report.html'}")
