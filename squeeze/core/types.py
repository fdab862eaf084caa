"""Small types that several layers share."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Advance(Protocol):
    """Moves a progress bar on by ``steps`` and may set a short note beside it."""

    def __call__(self, steps: int = 1, *, note: str = "") -> None:
        """Advance."""


class Progress(Protocol):
    """Where long work reports to: a bar on the terminal, or nothing."""

    def task(self, description: str, total: int) -> AbstractContextManager[Advance]:
        """Open a bar of ``total`` steps for the time of a ``with`` block."""

    def say(self, text: str) -> None:
        """Print one line of narration."""

    def warn(self, text: str) -> None:
        """Print one line about a problem that the run survives; reports repeat it."""


class Silent:
    """A ``Progress`` that shows nothing."""

    def task(self, description: str, total: int) -> AbstractContextManager[Advance]:
        """Open nothing."""
        del description, total
        return nullcontext(_no_advance)

    def say(self, text: str) -> None:
        """Say nothing."""

    def warn(self, text: str) -> None:
        """Treat it as narration."""
        self.say(text)


def _no_advance(steps: int = 1, *, note: str = "") -> None:
    del steps, note
