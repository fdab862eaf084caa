"""Send what third-party libraries print to a log file instead of the screen."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO


def _show(
    sink: IO[str],
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: IO[str] | None = None,
    line: str | None = None,
) -> None:
    """Replace ``warnings.showwarning``, whose signature this is."""
    del file
    sink.write(warnings.formatwarning(message, category, filename, lineno, line))


@contextmanager
def chatter_to(log: Path | None) -> Iterator[None]:
    """Redirect everything that is written to stdout and stderr, C++ included, and warnings.

    Args:
        log: Appended to; None throws the chatter away.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    with Path(log or os.devnull).open("a", encoding="utf-8") as sink:
        handler = logging.StreamHandler(sink)
        root.addHandler(handler)
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        try:
            # Python's own streams may have been replaced (notebooks, test runners)
            with (
                contextlib.redirect_stdout(sink),
                contextlib.redirect_stderr(sink),
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("default")
                warnings.showwarning = partial(_show, sink)
                yield
        finally:
            sink.flush()
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)
            os.close(saved[0])
            os.close(saved[1])
            root.handlers = handlers
