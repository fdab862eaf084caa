"""Which code a bundle may run: squeeze's own sources, and factories that the user has allowed.

A bundle is data that may come from anywhere. Its ``build`` is called without asking only where it
names one of ``OWN_SOURCES``; a Python function is called only if the user names the same one.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from squeeze.core import reading
from squeeze.core.errors import InputError

OWN_SOURCES = ("torchvision", "timm", "builtin", "transformers")
"""What stands before the colon of a reference that runs none of the user's code."""

FORMS = (
    "torchvision:NAME, timm:NAME, builtin:NAME, transformers:NAME, package.module:function, "
    "./file.py:function"
)
"""The forms of a model factory's reference."""

_LONGEST = 120
_HOW = (
    "if you trust that code, allow it: --allow-code {0}, load_bundle(path, allow_code='{0}'), or "
    "the same as 'build' beside 'weights' in a recipe"
)
_allowed: ContextVar[tuple[str, ...]] = ContextVar("allowed", default=())


def allowed() -> tuple[str, ...]:
    """Return the factories that bundles may call now, besides squeeze's own sources."""
    return _allowed.get()


@contextmanager
def allowing(references: Iterable[str], folder: Path) -> Iterator[None]:
    """Let bundles call these factories for the time of the block, besides those allowed before.

    Args:
        references: ``package.module:function`` or ``./file.py:function``.
        folder: Where relative files start. One that is not there is looked for from the bundle.

    Raises:
        InputError: One is no such reference.
    """
    added = []
    for reference in references:
        head, _, name = reference.rpartition(":")
        if not head or not name:
            raise InputError(
                f"found '{reference}', allowed: package.module:function, ./file.py:function",
                where="--allow-code",
            )
        is_here = head.endswith(".py") and reading.is_file(folder / head)
        added.append(resolved(reference, folder) if is_here else reference)
    token = _allowed.set((*_allowed.get(), *added))
    try:
        yield
    finally:
        _allowed.reset(token)


def is_own(reference: str) -> bool:
    """Tell whether a reference names a model of squeeze's own sources."""
    return reference.rpartition(":")[0] in OWN_SOURCES


def in_standard_library(reference: str) -> bool:
    """Tell whether a reference names a function of Python's standard library."""
    head = reference.rpartition(":")[0]
    return not head.endswith(".py") and head.partition(".")[0] in sys.stdlib_module_names


def resolved(reference: str, folder: Path) -> str:
    """Return a reference whose file, if it names one, is absolute.

    Args:
        reference: Of a factory.
        folder: Where a relative file starts.
    """
    head, _, name = reference.rpartition(":")
    if not head.endswith(".py"):
        return reference
    try:
        return f"{(folder / head).resolve()}:{name}"
    except (OSError, ValueError, RuntimeError):  # too long, with a zero byte, links in a circle
        return reference


def is_missing(reference: str, folder: Path) -> bool:
    """Tell whether the file that a reference names is not there."""
    head = reference.rpartition(":")[0]
    return head.endswith(".py") and not reading.is_file(folder / head)


def mismatch(named: str, reference: str, folder: Path) -> str | None:
    """Return what is wrong when the user names another factory than a bundle does, or None.

    Args:
        named: The user's, resolved.
        reference: The bundle's. Where its file is gone, the user's is its new place.
        folder: The bundle.
    """
    if named == resolved(reference, folder) or is_missing(reference, folder):
        return None
    return f"the bundle is built by {reference}: name the same factory, or leave 'build' out"


def refusal(reference: str, args: Mapping[str, object], folder: Path) -> tuple[str, str] | None:
    """Return why a bundle's factory is not called and what to do about it, or None where it is.

    Args:
        reference: The bundle's ``build``.
        args: Its arguments, for the message.
        folder: The bundle.
    """
    head, _, name = reference.rpartition(":")
    if not head or not name:
        return f"its record has build: '{reference}', allowed: {FORMS}", "its record is damaged"
    if is_own(reference):
        return None
    given = ", ".join(f"{key}={value!r}" for key, value in args.items())
    call = f"{reference}({given if len(given) <= _LONGEST else given[:_LONGEST] + '…'})"
    if in_standard_library(reference):
        what = f"its record asks to run {call} of Python's standard library, which builds no models"
        return what, "nothing was run, and no option allows it: do not trust this bundle"
    wanted = resolved(reference, folder)
    if any(resolved(one, folder) == wanted for one in allowed()):
        return None
    where = "" if wanted == reference else f", which is {wanted.rpartition(':')[0]}"
    return (
        f"its record asks to run {call}{where}: code from outside squeeze, so nothing was run",
        _HOW.format(wanted),
    )
