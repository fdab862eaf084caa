"""Progress as plain lines: where there is no terminal for bars, and in the log of a run."""

import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from squeeze.core.errors import plain
from squeeze.core.text import printable
from squeeze.core.types import Advance, Progress

_EVERY_S = 30.0


class Lines:
    """A ``Progress`` that writes a line when a task starts, at every note, and at intervals.

    Args:
        write: Called with a line without its end, also from another thread.
        every_s: Seconds between two lines of a task that goes on.
    """

    def __init__(self, write: Callable[[str], None], *, every_s: float = _EVERY_S) -> None:
        self._write, self._every_s = write, every_s
        self._last, self._last_s = "", 0.0

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Advance]:
        """Write how far the block is."""
        started, done = time.monotonic(), 0
        over, noted = threading.Event(), threading.Event()
        self._start(description, started)

        def advance(steps: int = 1, *, note: str = "") -> None:
            nonlocal done
            done += steps
            if note:
                noted.set()
                self._write(f"{description}: {note}")

        def watch() -> None:
            while not over.wait(self._every_s):
                if not noted.is_set():
                    seconds = time.monotonic() - started
                    self._write(f"{description}: {done} of {total} after {seconds:.0f} s")
                noted.clear()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield advance
        finally:
            over.set()
            watcher.join()
        seconds = time.monotonic() - started
        if seconds >= self._every_s:
            self._write(f"{description}: done in {seconds:.0f} s")

    def say(self, text: str) -> None:
        """Write one line."""
        self._write(text)

    def warn(self, text: str) -> None:
        """Write one line, marked."""
        self._write(f"warning: {text}")

    def _start(self, description: str, now: float) -> None:
        """Write the line of a task that starts, unless it has just been written."""
        if description != self._last or now - self._last_s >= self._every_s:
            self._write(description)
            self._last, self._last_s = description, now


class Journal:
    """A ``Progress`` that passes everything on to another one and writes the run's log.

    Attributes:
        warnings: In order.
    """

    def __init__(self, shown: Progress) -> None:
        self.warnings: list[str] = []
        self._shown = shown
        self._log = Lines(self._write)
        self._early: list[str] = []
        self._file: IO[bytes] | None = None

    def open(self, path: Path) -> None:
        """Write to this file from now on, beginning with what came before."""
        # unbuffered, as whole lines: libraries append to the same file
        self._file = path.open("ab", buffering=0)
        for line in self._early:
            self._file.write(line.encode(errors="replace"))
        self._early.clear()

    def close(self) -> None:
        """Close the file and strip the colour codes that libraries have written to it."""
        if self._file is None:
            return
        path = Path(self._file.name)
        self._file.close()
        self._file = None
        with suppress(OSError):  # the folder may have been removed
            text = path.read_bytes().decode(errors="replace")
            if plain(text) != text:
                path.write_bytes(plain(text).encode())

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Advance]:
        """Show and log a task for the time of the block."""
        with (
            self._shown.task(description, total) as show,
            self._log.task(description, total) as write,
        ):

            def advance(steps: int = 1, *, note: str = "") -> None:
                show(steps, note=note)
                write(steps, note=note)

            yield advance

    def say(self, text: str) -> None:
        """Show and log one line."""
        self._shown.say(text)
        self._log.say(text)

    def warn(self, text: str) -> None:
        """Show and log one line, and keep it for the report."""
        self._shown.warn(text)
        self._log.warn(text)
        if text not in self.warnings:
            self.warnings.append(text)

    def failed(self, error: BaseException) -> None:
        """Log why the run ends: with a traceback, unless the user has stopped it."""
        if isinstance(error, KeyboardInterrupt):
            self._log.say("stopped")
            return
        self._log.say(f"error: {error}")
        for part in traceback.format_exception(error):
            for line in part.rstrip().splitlines():
                self._log.say(line)

    def _write(self, text: str) -> None:
        stamp = datetime.now(UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
        line = f"{stamp}  {printable(plain(text))}\n"
        if self._file is None:
            self._early.append(line)
        else:
            with suppress(OSError):  # a full disk is reported by whatever cannot go on without it
                self._file.write(line.encode(errors="replace"))
