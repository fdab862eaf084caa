"""Progress of calls from Python: shown by default in a terminal and in a notebook."""

import atexit
import os
import sys
from contextlib import contextmanager
from functools import cache
from typing import IO, TYPE_CHECKING

from squeeze.core.errors import InputError
from squeeze.core.text import printable
from squeeze.core.types import Silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from squeeze.core.types import Advance, Progress

_STDERR = 2
_WIDTH = 78


def chosen(progress: "Progress | bool | None") -> "Progress":
    """Return where a call reports to.

    Args:
        progress: A ``Progress`` of the caller's; True or False; None shows it where somebody is
            likely to look: in a terminal and in a notebook.

    Raises:
        InputError: Something else was given.
    """
    if progress is None:
        progress = _is_watched(sys.stderr)
    if isinstance(progress, bool):
        return StatusLine(_stderr()) if progress else Silent()
    if not all(callable(getattr(progress, name, None)) for name in ("task", "say", "warn")):
        raise InputError(
            f"found a {type(progress).__name__}, expected True, False, None or an object with the "
            "methods task, say and warn",
            where="progress",
        )
    return progress


class StatusLine:
    """A ``Progress`` on one line, which is overwritten: terminals and notebooks both do that."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    @contextmanager
    def task(self, description: str, total: int) -> "Iterator[Advance]":
        """Show how far the block is, for its time."""
        done, last = 0, ""

        def advance(steps: int = 1, *, note: str = "") -> None:
            nonlocal done, last
            done, last = done + steps, note or last
            self._overwrite(": ".join(filter(None, (f"{description} {done}/{total}", last))))

        advance(0)
        try:
            yield advance
        finally:
            self._overwrite("")
            self._stream.write("\r")
            self._stream.flush()

    def say(self, text: str) -> None:
        """Show what is done now, until something else is."""
        self._overwrite(text)

    def warn(self, text: str) -> None:
        """Print one line that stays."""
        self._overwrite("")
        self._stream.write(f"\rwarning: {printable(text)}\n")

    def _overwrite(self, text: str) -> None:
        line = printable(text, one_line=True)
        shown = line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"
        self._stream.write(f"\r{shown:<{_WIDTH}}")
        self._stream.flush()


def _stderr() -> IO[str]:
    """Return a copy of stderr, so that lines stay visible while a library's output is redirected.

    Where Python's stderr is another stream (a notebook's, a test runner's), that very stream.
    """
    try:
        is_own = sys.stderr.fileno() == _STDERR
    except (OSError, ValueError, AttributeError):
        is_own = False
    return _copy() if is_own else sys.stderr


@cache
def _copy() -> IO[str]:
    stream = os.fdopen(os.dup(_STDERR), "w", encoding="utf-8", errors="replace", buffering=1)
    atexit.register(stream.close)
    return stream


def _is_watched(stream: IO[str]) -> bool:
    """Tell whether a person sees the stream: a terminal's, or that of a notebook's kernel."""
    if "ipykernel" in sys.modules:
        return True
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # none, or closed
        return False
