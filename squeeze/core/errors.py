"""Every error that a user can cause or meet; the command line prints them in one place."""

import re
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

EXIT_PASSED, EXIT_FAILED, EXIT_INPUT, EXIT_GATE = 0, 1, 2, 3
_ESCAPE_CODES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-Z\\-_]"
)
_CAUSES = 20
_LONGEST_CAUSE = 500


class SqueezeError(Exception):
    """A failure that is explained to the user.

    Args:
        what: What was found.
        where: The file, key or node it was found in.
        hint: What to do next.
    """

    exit_code = EXIT_FAILED

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  {self.hint}" if self.hint else text


class InputError(SqueezeError):
    """The user's input (recipe, flags, model, data, output folder) is wrong."""

    exit_code = EXIT_INPUT


@contextmanager
def placed(path: str, keys: "Collection[str]") -> "Iterator[None]":
    """Put the place of a block before its keys, where errors of the user's input name them.

    Args:
        path: Of the block in the recipe, such as ``steps.0``.
        keys: Of the block.
    """
    try:
        yield
    except InputError as error:
        if error.where is not None and error.where.partition(".")[0] in keys:
            error.where = f"{path}.{error.where}"
        raise


@dataclass(frozen=True)
class Problem:
    """One mistake in a recipe.

    Attributes:
        where: ``file:line:col``.
        what: What was found and what is allowed.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class RecipeError(InputError):
    """All mistakes of one or several recipes together."""

    def __init__(self, problems: "Sequence[Problem]") -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


def closest(name: str, allowed: "Iterable[str]") -> str | None:
    """Return the allowed name that was probably meant, or None."""
    names = {other.lower(): other for other in allowed}
    close = get_close_matches(name.lower(), list(names), n=1, cutoff=0.5)
    return names[close[0]] if close else None


def nearest(name: str, allowed: "Iterable[str]") -> str:
    """Return ``"; did you mean 'x'?"`` for the closest allowed name, or an empty string."""
    meant = closest(name, allowed)
    return f"; did you mean '{meant}'?" if meant is not None else ""


def unknown_name(kind: str, name: str, allowed: "Iterable[str]") -> str:
    """Return the sentence for a name that does not exist, with the nearest valid one."""
    names = sorted(allowed)
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")  # noqa: PLR2004
    return f"unknown {kind} '{name}', allowed: {shown}{nearest(name, names)}"


def plain(text: str) -> str:
    """Return a text without the escape codes that colour a terminal."""
    return _ESCAPE_CODES.sub("", text)


def cause_of(error: BaseException) -> str:
    """Return in one line what a library's error comes from: the first error of its chain.

    Libraries wrap what went wrong in general advice, in several lines and in colours.
    """
    for _ in range(_CAUSES):  # only what was raised "from" it: what it interrupted is no cause
        error = error.__cause__ or error
    lines = [line.strip() for line in plain(str(error)).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= _LONGEST_CAUSE else f"{text[:_LONGEST_CAUSE]}…"
