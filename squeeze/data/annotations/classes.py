"""Class names of annotations become class indices."""

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.errors import InputError, unknown_name
from squeeze.recipe.schema import DataSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEFT_OUT = -1
"""The index of boxes whose class the recipe maps to null."""

MOST_CLASSES = 100_000
"""Numbers of classes from here on are a mistake in the file; a list of them would fill memory."""


def resolve(
    names: Sequence[Sequence[str]],
    places: Sequence[Sequence[str]],
    listed: Sequence[str] | None,
    source: DataSource,
    where: str,
) -> "tuple[Sequence[str], list[NDArray[np.int64]], tuple[str, ...]]":
    """Return the class names, the indices of every image's boxes, and what to tell.

    Args:
        names: Per image and box.
        places: The same, for messages.
        listed: Class names that the format itself lists; None takes those found, sorted.
        source: The recipe's ``classes`` and ``class_map``.
        where: What messages call the set.

    Raises:
        InputError: A class that is not among ``classes``.
    """
    found = set(chain.from_iterable(names))
    mapped = {name: source.class_map.get(name, name) for name in found | set(listed or ())}
    if source.classes is not None:
        known: Sequence[str] = list(source.classes)
    elif listed is not None:
        known = list(dict.fromkeys(n for n in map(mapped.get, listed) if n is not None))
    else:
        known = sorted({n for n in mapped.values() if n is not None})
    order = {name: index for index, name in enumerate(known)}
    number = {n: LEFT_OUT if to is None else order.get(to) for n, to in mapped.items()}
    strange = sorted(name for name in found if number[name] is None)
    if strange:
        _refuse(strange, mapped, known, _first(strange[0], names, places), where)
    indices = [np.array([number[name] for name in page], np.int64) for page in names]
    return known, indices, _tell(source, mapped, indices)


def _refuse(
    strange: Sequence[str],
    mapped: dict[str, str | None],
    known: Sequence[str],
    place: str,
    where: str,
) -> None:
    name = mapped[strange[0]] or strange[0]
    others = f" (and {len(strange) - 1} more)" if len(strange) > 1 else ""
    raise InputError(
        f"{place}: {unknown_name('class', name, known)}{others}",
        where=where,
        hint=f"add it to 'classes', rename it ('class_map: {{{strange[0]}: NAME}}') or leave its "
        f"boxes out ('class_map: {{{strange[0]}: null}}')",
    )


def _first(name: str, names: Sequence[Sequence[str]], places: Sequence[Sequence[str]]) -> str:
    for page, where in zip(names, places, strict=True):
        if name in page:
            return where[list(page).index(name)]
    return ""


def _tell(
    source: DataSource, mapped: dict[str, str | None], indices: "list[NDArray[np.int64]]"
) -> tuple[str, ...]:
    said = []
    idle = sorted(set(source.class_map) - set(mapped))
    if idle:
        said.append(f"class_map renames {', '.join(idle)}, which no annotation has")
    dropped = sum(int((page == LEFT_OUT).sum()) for page in indices)
    if dropped:
        said.append(f"{dropped} boxes left out by class_map")
    return tuple(said)
