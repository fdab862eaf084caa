"""Google-style docstrings, read as data: what a class says about each of its attributes."""

import inspect
import re

_SECTION = "Attributes:"
_ENTRY = re.compile(r"^ {4}(\w+): (.*)$")


def body(cls: type) -> str:
    """Return a class's own docstring without its ``Attributes:`` section; empty without one."""
    text = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
    return text.partition(_SECTION)[0].strip()


def attributes(cls: type) -> dict[str, str]:
    """Return what a class and its bases say about each attribute; the class itself decides last."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        found |= _own(base)
    return found


def _own(cls: type) -> dict[str, str]:
    text = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
    found: dict[str, str] = {}
    name = ""
    for line in text.partition(_SECTION)[2].splitlines():
        entry = _ENTRY.match(line)
        if entry:
            name = entry[1]
            found[name] = entry[2]
        elif name and line.startswith(" " * 8):
            found[name] += " " + line.strip()
        elif line and not line.startswith(" "):  # the next section
            name = ""
    return found
