"""What an exporter's exception says, in one line."""

import re

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def cause(error: BaseException) -> str:
    """Return the first line of the exception behind an exporter's, which only tells the step."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = _COLOURS.sub("", str(error)).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
