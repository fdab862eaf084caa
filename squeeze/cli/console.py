"""The terminal: results on stdout, progress and narration on stderr.

With ``layout`` the only user of Rich.
"""

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import IO, TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from squeeze.cli import layout
from squeeze.core.journal import Lines
from squeeze.core.text import printable
from squeeze.core.types import Advance

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from squeeze.results import Results

_STDERR = 2


class Terminal:
    """Implements ``squeeze.core.types.Progress`` with Rich.

    It writes on a copy of stderr, so that bars and lines stay visible while a library's output is
    being redirected. Without a terminal there are plain lines instead of bars, and no colours.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._console = Console(file=_stderr(), highlight=False, soft_wrap=True)
        self._lines = Lines(self._print)

    def task(self, description: str, total: int) -> AbstractContextManager[Advance]:
        """Show a bar with the time left, for the time of the block."""
        if self.quiet:
            return nullcontext(_ignore)
        if not self._console.is_terminal:
            return self._lines.task(description, total)
        return self._bar(description, total)

    @contextmanager
    def _bar(self, description: str, total: int) -> Iterator[Advance]:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with Progress(
            *columns,
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as bars:
            yield _advance(bars, bars.add_task(printable(description), total=total, note=""))

    def say(self, text: str) -> None:
        """Print one line of narration."""
        if not self.quiet:
            self._print(text)

    def warn(self, text: str) -> None:
        """Print one line about what went wrong, also when quiet."""
        self._print(f"warning: {text}")

    def _print(self, text: str) -> None:
        self._console.print(printable(text), markup=False)


def _stderr() -> IO[str]:
    """Return a copy of stderr; the stream itself where Python's is another (test runners)."""
    try:
        is_own = sys.stderr.fileno() == _STDERR
    except (OSError, ValueError, AttributeError):
        is_own = False
    if not is_own:
        return sys.stderr
    stream = os.fdopen(os.dup(_STDERR), "w", encoding="utf-8", errors="replace", buffering=1)
    atexit.register(stream.close)
    return stream


def _advance(bars: Progress, task: TaskID) -> Advance:
    def advance(steps: int = 1, *, note: str = "") -> None:
        bars.advance(task, steps)
        if note:
            bars.update(task, note=printable(note, one_line=True))

    return advance


def _ignore(steps: int = 1, *, note: str = "") -> None:
    del steps, note


def out(text: str) -> None:
    """Print a result on stdout."""
    sys.stdout.write(printable(text) + "\n")


def error(text: str) -> None:
    """Print an error on stderr."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        Text("error: ", style="bold red") + Text(printable(text))
    )


def note(text: str) -> None:
    """Print on stderr what must not be overlooked, also where progress is not shown."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        Text("note: ", style="bold") + Text(printable(text))
    )


def table(columns: "Sequence[str]", rows: "Iterable[Sequence[str]]", *, title: str = "") -> None:
    """Print a table on stdout; names and figures stay whole, whatever the width of the terminal.

    Sentences wrap at spaces. What is still too wide is printed as one block per row. When stdout is
    no terminal, a table is as wide as it needs to be.
    """
    console = Console(highlight=False)
    names = [printable(name, one_line=True) for name in columns]
    cells = [[printable(cell, one_line=True) for cell in row] for row in rows]
    widths: Sequence[int] | None = layout.natural(names, cells)
    if console.is_terminal:
        widths = layout.fitted(names, cells, console.width)
    if widths is None:
        for line in layout.blocks(names, cells, console.width, printable(title)):
            console.print(Text(line), soft_wrap=True)
        return
    needed = sum(widths) + layout.GAP * len(widths)
    console.width = max(console.width, needed)
    above = Text(printable(title)) if title else None
    grid = Table(title=above, title_justify="left", box=None, pad_edge=False)
    for name, width in zip(names, widths, strict=True):
        grid.add_column(Text(name), width=width)
    for row in cells:
        grid.add_row(*map(Text, row))
    console.print(grid)


def summary(results: "Results") -> None:
    """Print what makes a run's figures meaningless, then its rows, headlines, gates and notes."""
    from squeeze.report import headlines, tables
    from squeeze.report.warnings import doubts

    first = list(doubts(results.rows))
    for warning in first:
        out(f"warning  {warning}")
    _rows(results)
    for reused in tables.reused_measurements(results):
        out(f"note  {reused}")
    for headline in headlines.headlines(results):
        out(headline.title)
        for name, value in headline.figures:
            out(f"      {name}: {value}")
    for gate in results.gates:
        place = f" on {gate.target}" if gate.target else ""
        note = f" ({gate.note})" if gate.note else ""
        verdict = f"{gate.found}, limit {gate.limit}{note}"
        out(f"{tables.mark(gate)}  {gate.gate}{place}, {gate.model}: {verdict}")
    for note in results.warnings:
        if note not in first:
            out(f"note  {note}")


def _rows(results: "Results") -> None:
    """Print the main table, and below it which models were skipped on which target."""
    from squeeze.report import tables

    columns, rows = tables.columns(results), list(tables.rows(results))
    kept = tables.in_terminal(results)
    lines = [
        [
            "" if i == 0 and not row.first_of_target else row.cells[i].partition(": ")[0]
            for i in kept
        ]
        for row in rows
    ]
    table([columns[i] for i in kept], lines)
    for row in rows:
        if row.skipped:
            place, model, reason = row.cells[:3]
            out(f"skip  {model} on {place}: {reason.partition(': ')[2]}")
