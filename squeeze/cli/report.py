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
    """Render a run's reports again from its results.json.

    Files that have changed since the run are named.
    """
    del debug
    from squeeze.cli import console
    from squeeze.report import write

    results, changed = write.read(run), write.changes(run)
    terminal = console.Terminal()
    for text in changed:
        terminal.warn(text)
    results = results.model_copy(update={"warnings": (*changed, *results.warnings)})
    with write.rendering(run, changed):
        write.render(results, run)
        if json:
            console.out(results.model_dump_json(indent=1))
            return
        console.summary(results)
    console.out(f"report  {run / 'report.html'}")
