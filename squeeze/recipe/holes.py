"""Placeholders in a recipe for values that could not be read, so that the rest is checked too."""

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import NoReturn, ParamSpec, TypeVar

from squeeze.recipe.document import Path_

Mistakes = Iterator[tuple[Path_, str]]
P = ParamSpec("P")
T = TypeVar("T")


class HoleError(Exception):
    """A check has reached a value that could not be read."""


class Hole:
    """Is not None, is of no kind that a check knows, and ends the check that looks into it."""

    def _end(self, *_: object) -> NoReturn:
        raise HoleError

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # asked by isinstance
            raise AttributeError(name)
        raise HoleError

    __getitem__ = __iter__ = __len__ = __contains__ = __call__ = _end
    __rtruediv__ = __fspath__ = _end
    __bool__ = __hash__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _end
    __str__ = __repr__ = __format__ = __int__ = __float__ = __index__ = _end


def is_hole(value: object) -> bool:
    """Tell whether a value could not be read."""
    return type(value) is Hole


def read(items: Iterable[T]) -> Iterator[tuple[int, T]]:
    """Yield the items that could be read, with their numbers."""
    return ((index, item) for index, item in enumerate(items) if not is_hole(item))


def ends_at_holes(check: Callable[P, Mistakes]) -> Callable[P, Mistakes]:
    """Let a check yield what it finds until it reaches a value that could not be read."""

    @wraps(check)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Mistakes:
        try:
            yield from check(*args, **kwargs)
        except HoleError:
            return

    return inside
