"""Send what third-party libraries print to a log file instead of the screen."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
def redirect_output(log: Path | None) -> Iterator[None]:
    """Redirect everything that is written to stdout and stderr, C++ included, and warnings.

    Args:
        log: Appended to; None discards the output.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    root = logging.getLogger()
    with ExitStack() as undo:
        # restored last to first: the streams and their descriptors before the file is closed
        sink = undo.enter_context(Path(log or os.devnull).open("a", encoding="utf-8"))
        undo.callback(setattr, root, "handlers", root.handlers)
        root.handlers = [logging.StreamHandler(sink)]
        for descriptor in (1, 2):
            saved = os.dup(descriptor)
            undo.callback(os.close, saved)
            undo.callback(os.dup2, saved, descriptor)
            os.dup2(sink.fileno(), descriptor)
        # Python's own streams may have been replaced (notebooks, test runners)
        undo.enter_context(contextlib.redirect_stdout(sink))
        undo.enter_context(contextlib.redirect_stderr(sink))
        undo.enter_context(warnings.catch_warnings())
        warnings.simplefilter("default")
        warnings.showwarning = partial(_show, sink)
        yield
