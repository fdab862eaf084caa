"""Bring the classes of a data set into the order of the model's outputs.

A set may lack classes that the model knows: the names in it then say which outputs they are. What
is only numbered (``0``, ``1``, …) is taken as the numbers of the outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.boxes import Boxes
from squeeze.core.errors import InputError, unknown_name
from squeeze.core.text import are_numbers
from squeeze.data.samples import Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from squeeze.data.samples import Picture


@dataclass(frozen=True, eq=False)
class Renumbered:
    """Samples whose labels are indices into another list of classes, as ``BoxedSamples``.

    Attributes:
        samples: What they are read from.
        classes: The other list.
        numbers: The new index of every class of ``samples`` ``(k,)``.
    """

    samples: Samples
    classes: Sequence[str]
    numbers: "NDArray[np.int64]"

    @property
    def notes(self) -> tuple[str, ...]:
        """What the samples have to say."""
        return tuple(getattr(self.samples, "notes", ()))

    @cached_property
    def _known(self) -> dict[int, int | Boxes]:
        return {}

    def __len__(self) -> int:
        return len(self.samples)

    def name(self, index: int) -> str:
        """Return what messages call the sample."""
        return self.samples.name(index)

    def label(self, index: int) -> int | Boxes:
        """Return the class index or the boxes, by the other list.

        Raises:
            InputError: The label is none of the set's own classes.
        """
        if index not in self._known:
            self._known[index] = self._relabelled(index)
        return self._known[index]

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of the picture."""
        size: tuple[int, int] = self.samples.size(index)  # type: ignore[attr-defined]  # BoxedSamples
        return size

    def picture(self, index: int) -> "Picture":
        """Return the picture."""
        return self.samples.picture(index)

    def digest(self, index: int) -> bytes:
        """Return a hash of the content."""
        return self.samples.digest(index)

    def _relabelled(self, index: int) -> int | Boxes:
        label = self.samples.label(index)
        own = np.asarray(label.classes if isinstance(label, Boxes) else [label], np.int64)
        if len(own) and not (own.min() >= 0 and own.max() < len(self.numbers)):
            raise InputError(
                f"has label {own.max() if own.min() >= 0 else own.min()} for "
                f"{len(self.numbers)} classes",
                where=self.name(index),
            )
        new = self.numbers[own]
        return replace(label, classes=new) if isinstance(label, Boxes) else int(new[0])


def in_order(
    samples: Samples, given: Sequence[str], of_model: Sequence[str], where: str
) -> Samples:
    """Return samples whose classes are a known list.

    Args:
        samples: Just opened.
        given: The recipe's ``classes``; empty if it names none.
        of_model: The classes that the model's outputs are known to be; empty if that is not known.
        where: What messages call the set.

    Raises:
        InputError: The set has a class that is not in the list.
    """
    known, own = list(given or of_model), list(samples.classes)
    if not known or own == known:
        return samples
    if are_numbers(own):
        if len(own) > len(known):
            source = "'classes' names" if given else "the model knows"
            raise InputError(f"has {len(own)} classes, {source} {len(known)}", where=where)
        return Renumbered(samples, known, np.arange(len(own)))
    order = {name: number for number, name in enumerate(known)}
    unknown = [name for name in own if name not in order]
    if unknown:
        others = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise InputError(
            f"{unknown_name('class', unknown[0], known)}{others}",
            where=where,
            hint=None
            if given
            else "these are the classes that the model was trained on; if its outputs are others, "
            "name them in order by 'classes'",
        )
    return Renumbered(samples, known, np.array([order[name] for name in own], np.int64))
