"""Find the operators that a quantizer or a runtime cannot take in int8, by trial.

A quantizer fails on a whole file and seldom says where. Which operators must stay float is found
by running the quantizer and the runtime themselves: everything stays float but one kind of
operator, then half of that kind, down to single ones.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TypeVar

from squeeze.core.errors import SqueezeError

_LONGEST = 48
_Made = TypeVar("_Made")
Attempt = Callable[[Collection[str]], _Made]
"""Makes and tries a file in which the operators of these names stay float."""


def without_failing(
    attempt: Attempt[_Made], kinds: Mapping[str, str], known: Mapping[str, str], *, who: str
) -> tuple[_Made, dict[str, str]]:
    """Make a file, if need be with the operators left in float that fail in int8.

    Args:
        attempt: Makes the file, with these operators in float, and lets the runtime run it.
        kinds: The kind of every operator of the file, by name.
        known: Those known to fail, with the reason.
        who: Quantizes, for reasons.

    Returns:
        What was made, and the operators that fail, with the reason.

    Raises:
        Exception: Of the first attempt, where no operators can be blamed for it.
    """
    unfit = dict(known)
    try:
        return attempt([*unfit]), unfit
    except OSError:
        raise
    except Exception:
        found = _failing(attempt, [name for name in kinds if name not in unfit], kinds)
        if not found:
            raise
        for name, error in found.items():
            unfit[name] = f"in float because {who} fails on {kinds[name]} {_short(name)}: {error}"
        return attempt([*unfit]), unfit


def _failing(
    attempt: Attempt[_Made], names: Sequence[str], kinds: Mapping[str, str]
) -> dict[str, str]:
    """Return the operators that fail when only they, or their kind, are in int8."""
    everything = list(kinds)

    def error_with(chosen: Sequence[str]) -> str | None:
        wanted = set(chosen)
        try:
            attempt([name for name in everything if name not in wanted])
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001  (whatever the libraries raise)
            return _first_line(error)
        return None

    def among(chosen: Sequence[str]) -> dict[str, str]:
        error = error_with(chosen)
        if error is None:
            return {}
        if len(chosen) == 1:
            return {chosen[0]: error}
        middle = len(chosen) // 2
        parts = among(chosen[:middle]) | among(chosen[middle:])
        return parts or dict.fromkeys(chosen, error)  # they fail together only

    if error_with([]) is not None:
        return {}  # it fails in float already
    found: dict[str, str] = {}
    for alike in _by_kind(names, kinds):
        found |= among(alike)
    return found


def _by_kind(names: Sequence[str], kinds: Mapping[str, str]) -> Iterator[list[str]]:
    for kind in dict.fromkeys(kinds[name] for name in names):
        yield [name for name in names if kinds[name] == kind]


def _short(name: str) -> str:
    """Return the end of a name: converters put the modules around a layer in front."""
    return name if len(name) <= _LONGEST else f"…{name[-_LONGEST:]}"


def _first_line(error: Exception) -> str:
    text = error.what if isinstance(error, SqueezeError) else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0].strip()
