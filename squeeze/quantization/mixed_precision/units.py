"""The units that stay float together: a layer with what runtimes fuse into it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from squeeze.core.union_find import UnionFind

if TYPE_CHECKING:
    from squeeze.quantization.keep_float.layers import Operation


@dataclass(frozen=True)
class Unit:
    """Operations that are either all int8 or all float.

    Attributes:
        name: The path of its layer with weights; without one, of the layer around its first
            operation, with that operation's name.
        operations: By name.
    """

    name: str
    operations: frozenset[str]


def units(operations: "Sequence[Operation]", computed: Mapping[str, frozenset[str]]) -> list[Unit]:
    """Return the units of a module in order of execution, those that a file computes.

    What one operator of the file computes belongs together, and so do an operation without weights
    and its only input, if nothing else reads that: batch norms, activations and pooling go with
    the layer before them.

    Args:
        operations: Of the module.
        computed: What the operators of the file compute.
    """
    known = {operation.name: operation for operation in operations}
    sets = UnionFind[str]()
    for names in computed.values():
        first, *others = names or [""]
        for name in others:
            sets.join(first, name)
    for source, name in _chains(operations):
        sets.join(source, name)
    in_file = {
        sets.root(name) for names in computed.values() for name in names if known[name].inputs
    }
    groups: dict[str, list[Operation]] = {}
    for operation in operations:
        if sets.root(operation.name) in in_file:
            groups.setdefault(sets.root(operation.name), []).append(operation)
    return _named(list(groups.values()))


def _chains(operations: "Sequence[Operation]") -> Iterator[tuple[str, str]]:
    """Yield operations without weights and their only input, where nothing else reads that."""
    readers = [source for operation in operations for source in operation.inputs]
    made = {operation.name for operation in operations if operation.inputs}
    for operation in operations:
        if len(operation.inputs) == 1 and not operation.has_weights:
            source = operation.inputs[0]
            if source in made and readers.count(source) == 1:
                yield source, operation.name


def _named(groups: "Sequence[Sequence[Operation]]") -> list[Unit]:
    found: dict[str, Unit] = {}
    for group in groups:
        first = next((each for each in group if each.has_weights), group[0])
        name = first.layer if first.has_weights else f"{first.layer or 'model'} ({first.kind})"
        if name in found:  # a layer that is called twice
            name = f"{name} ({first.name})"
        found[name] = Unit(name, frozenset(each.name for each in group))
    return list(found.values())
