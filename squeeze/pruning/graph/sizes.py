"""Sizes that code writes down for channels, found in the exported graph and by one run.

While a module is exported, its calls of functions that take sizes are named, forward function by
forward function, and the names stay with the operators. So every labelled dimension whose size an
operator is given leads back to a call. Which of them are really written, and not read off a tensor
again, shows when a narrower copy runs.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from squeeze.pruning.groups import WrittenSize, lost

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.fx import Node

    from squeeze.pruning.groups import ChannelGroup


PIECE = -1
"""The place of a range that is no size in the code, but must not be left without channels."""


@dataclass(frozen=True)
class SizedDimension:
    """A size that an operator is given, and whose channels it counts.

    Attributes:
        path: The module in whose forward function the call is.
        call: Its line, and how often that was passed.
        place: Which of the call's sizes.
        written: The size.
        labels: A map.
        dim: Its dimension that is counted.
    """

    path: str
    call: str
    place: int
    written: int
    labels: "Tensor"
    dim: int


def call_of(node: "Node") -> tuple[str, str] | None:
    """Return the module and number of the call that an operator comes from."""
    from squeeze.models import written_sizes

    found = (node.meta.get("custom") or {}).get(written_sizes.META)
    return None if found is None else (found[0], found[1])


def put_(module: "nn.Module", groups: "Iterable[ChannelGroup]", gone: Mapping[str, Any]) -> None:
    """Write down the sizes that are left, in place.

    Those of groups that have lost nothing too: the code may work them out of other widths.

    Args:
        module: Cut already.
        groups: All those of the survey.
        gone: Group name to the units that have gone.
    """
    from squeeze.models import written_sizes

    groups = tuple(groups)
    every = {size.side: size for group in groups for size in group.sizes}
    removed = {size.side: len(indices) for size, indices in lost(groups, gone, _sizes)}
    changed: dict[str, list[list[Any]]] = {}
    for side, size in every.items():
        if size.place == PIECE:
            continue
        entries = changed.setdefault(size.path, _entries(module.get_submodule(size.path)))
        known = next((e for e in entries if e[:2] == [size.call, size.place]), None)
        if known is None:
            known = [size.call, size.place, size.written, size.written]
            entries.append(known)
        count = removed.get(side, 0)
        known[3] -= count if size.written > 0 else -count
    for path, entries in changed.items():
        part = module.get_submodule(path)
        setattr(part, written_sizes.ATTRIBUTE, entries)
        written_sizes.install_(part)


def _sizes(group: "ChannelGroup") -> "tuple[WrittenSize, ...]":
    return group.sizes


def _entries(part: "nn.Module") -> list[list[Any]]:
    from squeeze.models import written_sizes

    return [list(entry) for entry in getattr(part, written_sizes.ATTRIBUTE, ())]


@dataclass(frozen=True)
class Differences:
    """What a module's code gets wrong.

    Attributes:
        sides: Path, call and place of sizes.
        numbers: The same of factors that the code has given, and the factor.
    """

    sides: set[tuple[str, str, int]]
    numbers: Mapping[tuple[str, str, int], float]

    def factors(self, before: Mapping[tuple[str, str, int], float]) -> tuple[WrittenSize, ...]:
        """Return the factors that the code works out of widths, which must stay.

        Args:
            before: Those of the uncut module.
        """
        return tuple(
            WrittenSize(*side, number, (), ())
            for side, number in before.items()
            if self.numbers.get(side, number) != number
        )


def differences(
    module: "nn.Module", run: "Callable[[nn.Module], Any]", *, correct: bool
) -> Differences | None:
    """Run a module; return what its code gets wrong.

    Args:
        module: With all sizes put in.
        run: Runs it.
        correct: Whether they are replaced, as they must be in a narrow module.

    Returns:
        None where the module cannot run: then it is not known.
    """
    from squeeze.models import written_sizes

    found: set[tuple[str, str, int]] = set()

    def ask(path: str, call: str, place: int) -> bool:
        found.add((path, call, place))
        return correct

    for path, part in module.named_modules():
        if written_sizes.ATTRIBUTE in vars(part):
            written_sizes.install_(part, functools.partial(ask, path))
    try:
        with written_sizes.numbered(module) as calls:
            run(module)
    except Exception:  # noqa: BLE001  whatever code raises on other widths; the proof says it
        return None
    return Differences(found, calls.numbers)


def known(module: "nn.Module") -> set[tuple[str, str, int]]:
    """Return path, call and place of what is replaced already, in a model that was pruned."""
    return {
        (path, entry[0], entry[1])
        for path, part in module.named_modules()
        for entry in _entries(part)
    }
