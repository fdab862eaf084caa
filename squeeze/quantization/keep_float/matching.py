"""Which operations of the torch module each operator of an exported file computes.

Exporters fold batch norms, fuse activations, split layers and drop names, but keep the values: on
one batch, most tensors of a file equal the output of some operation. The operators between two such
tensors in the file compute the operations between the two in the module.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from squeeze.quantization.keep_float.fingerprint import Fingerprint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from squeeze.quantization.keep_float.layers import Operation


@dataclass(frozen=True)
class FileOperator:
    """An operator of a file, by the names of its tensors; constants are left out.

    Attributes:
        name: What the file, or the quantizer, calls it.
        inputs: Tensors that it reads.
        outputs: Tensors that it makes.
        kind: The runtime's name of what it does.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    kind: str = ""


def computed(
    operations: "Sequence[Operation]",
    operators: Sequence[FileOperator],
    values: "Iterable[tuple[str, NDArray[np.floating]]]",
) -> dict[str, frozenset[str]]:
    """Return for every operator of a file the operations that it computes, or helps to compute.

    An operator that only moves values counts to the operation that they come from.

    Args:
        operations: Of the module, on some batch.
        operators: Of the file, in order of execution.
        values: The file's float tensors on the same batch, by name.
    """
    module = _Module(operations)
    places = module.placed({name: Fingerprint.of(value) for name, value in values}, operators)
    makers = {name: operator for operator in operators for name in operator.outputs}
    found: dict[str, set[str]] = {operator.name: set() for operator in operators}
    for operator in operators:
        for name in operator.outputs:
            if name not in places:
                continue
            region, reads = _region(operator, makers, places)
            names = module.between({places[each] for each in reads}, places[name], places.values())
            for member in region:
                found[member.name] |= names
    return {name: frozenset(names) for name, names in found.items()}


def _region(
    last: FileOperator, makers: dict[str, FileOperator], places: dict[str, str]
) -> tuple[list[FileOperator], list[str]]:
    """Return the operators up to the nearest known tensors, and those tensors."""
    region, reads, waiting = [last], list[str](), list(last.inputs)
    while waiting:
        name = waiting.pop()
        if name in places:
            reads.append(name)
        elif name in makers and makers[name] not in region:
            region.append(makers[name])
            waiting += makers[name].inputs
    return region, reads


@dataclass
class _Module:
    """The module's operations; those that only move values count as the one that made them."""

    operations: "Sequence[Operation]"
    _known: "dict[str, Operation]" = field(init=False)
    _head: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._known = {operation.name: operation for operation in self.operations}
        self._head = {}
        for operation in self.operations:
            self._head[operation.name] = self._maker(operation)

    def _maker(self, operation: "Operation") -> str:
        own = operation.fingerprint
        for name in operation.inputs:
            source = self._known.get(name)
            if own and source and source.fingerprint and own.same(source.fingerprint):
                return self._head[name]
        return operation.name

    def placed(
        self, tensors: dict[str, Fingerprint], operators: Sequence[FileOperator]
    ) -> dict[str, str]:
        """Return the operation whose output each tensor is, for tensors that match one.

        Equal outputs of several operations (all zero, for example) are assigned in order.
        """
        heads = [o for o in self.operations if self._head[o.name] == o.name and o.fingerprint]
        made = {name for operator in operators for name in operator.outputs}
        order = [name for name in tensors if name not in made]
        order += [name for operator in operators for name in operator.outputs if name in tensors]
        moved = {n: operator.inputs for operator in operators for n in operator.outputs}
        places: dict[str, str] = {}
        taken: set[str] = set()
        for name in order:
            equal = [o.name for o in heads if o.fingerprint and o.fingerprint.same(tensors[name])]
            sources = {places[source] for source in moved.get(name, ()) if source in places}
            again = [each for each in equal if each in sources]  # the file only moves its values
            free = [each for each in equal if each not in taken]
            if equal:
                places[name] = (again or free or equal)[0]
                taken.add(places[name])
        return places

    def between(self, reads: set[str], made: str, known: Iterable[str]) -> frozenset[str]:
        """Return the operations after those that are read, up to the one that is made."""
        if made in reads:
            return frozenset({made})
        stops, found, waiting = {*known} - {made}, set[str](), [made]
        while waiting:
            name = waiting.pop()
            if name in found or name not in self._known:
                continue
            found.add(name)
            heads = [self._head[each] for each in self._known[name].inputs if each in self._head]
            waiting += [head for head in heads if head not in stops]
        return frozenset(found)
