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
    """Return the class names, the indices of every image's boxes, and notes for the reader.

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
    unknown = sorted(name for name in found if number[name] is None)
    if unknown:
        _refuse(unknown, mapped, known, _first(unknown[0], names, places), where)
    indices = [np.array([number[name] for name in image], np.int64) for image in names]
    return known, indices, _notes(source, mapped, indices)


def _refuse(
    unknown: Sequence[str],
    mapped: dict[str, str | None],
    known: Sequence[str],
    place: str,
    where: str,
) -> None:
    name = mapped[unknown[0]] or unknown[0]
    others = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
    raise InputError(
        f"{place}: {unknown_name('class', name, known)}{others}",
        where=where,
        hint=f"add it to 'classes', rename it ('class_map: {{{unknown[0]}: NAME}}') or leave its "
        f"boxes out ('class_map: {{{unknown[0]}: null}}')",
    )


def _first(name: str, names: Sequence[Sequence[str]], places: Sequence[Sequence[str]]) -> str:
    for image, where in zip(names, places, strict=True):
        if name in image:
            return where[list(image).index(name)]
    return ""


def _notes(
    source: DataSource, mapped: dict[str, str | None], indices: "list[NDArray[np.int64]]"
) -> tuple[str, ...]:
    notes = []
    idle = sorted(set(source.class_map) - set(mapped))
    if idle:
        notes.append(f"class_map renames {', '.join(idle)}, which no annotation has")
    dropped = sum(int((image == LEFT_OUT).sum()) for image in indices)
    if dropped:
        notes.append(f"{dropped} boxes left out by class_map")
    return tuple(notes)
