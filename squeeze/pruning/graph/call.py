"""One operation of the graph, as a rule sees it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from squeeze.pruning.graph import exported, sizes
from squeeze.pruning.graph.labels import FREE, Labelled, broadcast, squeezed, varying, widened

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from torch.fx import Node

    from squeeze.pruning.graph.coupling import Coupling

    Rule = Callable[["Call"], Any]


@dataclass(frozen=True)
class Call:
    """An operation with its arguments.

    Attributes:
        node: The operation.
        name: Its operator, without a trailing ``_``.
        args: Positional arguments, tensors as ``Labelled``.
        kwargs: The others.
        coupling: Where rules leave ties and reasons.
        rewritable: Whether the module that holds it sets its own numbers after pruning, so that a
            written index is not one.
    """

    node: "Node"
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    coupling: "Coupling"
    rewritable: bool = False

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of all results."""
        import torch

        made = self.node.meta.get("val")
        found = made if isinstance(made, list | tuple) else [made]
        return [shape_of(one) if torch.is_tensor(one) else () for one in found]

    @property
    def several(self) -> bool:
        """Whether the operator returns a list or tuple."""
        return isinstance(self.node.meta.get("val"), list | tuple)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the only result, or of the first."""
        return self.shapes[0]

    def argument(self, position: int, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """Return an argument by position or name."""
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name, default)

    def tensors(self) -> Iterator[Labelled]:
        """Yield all tensors among the arguments, those in lists too."""
        yield from _tensors((self.args, tuple(self.kwargs.values())))

    def stay(self, labels: "Tensor", what: str) -> None:
        """Keep channels because of this operation.

        Args:
            labels: Which.
            what: What happens to them; its place is added.
        """
        self.coupling.stay(labels, f"{what} in {exported.place(self.node)}")

    def stay_apart(self, labels: "Tensor", dim: int, own: "Tensor", what: str) -> None:
        """Keep channels because of this operation, if those along a dimension are several.

        Args:
            labels: A map.
            dim: The dimension.
            own: The labels that stay then.
            what: What happens to them; its place is added.
        """
        reason = f"{what} in {exported.place(self.node)}"
        self.coupling.stay_apart(labels, dim, own, reason)

    def stay_picked(self, labels: "Tensor", dim: int, first: int, last: int) -> None:
        """Keep the channels that are picked by numbers, if several lie along the dimension."""
        if labels.shape[dim] > 1 and not self.rewritable:
            own = labels.narrow(dim, first, last - first)
            self.stay_apart(labels, dim, own, "is picked by a written position")

    def size(self, place: int, written: Any, labels: "Tensor", dim: int) -> bool:  # noqa: ANN401
        """Note that the code gives the number of channels; tell whether it is known where.

        Args:
            place: Which of the call's sizes.
            written: The size; of those that the operator works out nothing is noted.
            labels: A map.
            dim: The dimension that is counted.
        """
        if self.rewritable:
            return True
        found = sizes.call_of(self.node)
        if found is None or not isinstance(written, int):
            return False
        own = sizes.SizedDimension(*found, place, written, labels, dim)
        self.coupling.sizes.append(own)
        return True

    def unknown(self) -> Any:  # noqa: ANN401
        """Keep all that this operation touches; return results without labels."""
        for tensor in self.tensors():
            for labels in tensor.maps:
                self.stay(labels, f"goes through '{self.name}', which pruning does not know,")
        made = [Labelled(shape) for shape in self.shapes]
        return made if self.several else made[0]


def shape_of(tensor: "Tensor") -> tuple[int, ...]:
    """Return a shape; a size that depends on the data, such as a number of boxes, counts as one."""
    return tuple(size if isinstance(size, int) else 1 for size in tensor.shape)


def _tensors(tree: Any) -> Iterator[Labelled]:  # noqa: ANN401
    if isinstance(tree, Labelled):
        yield tree
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from _tensors(item)


def join(
    call: Call, operands: Sequence[Labelled], shape: Sequence[int], *, product: bool = False
) -> Labelled:
    """Tie the labels of operands place by place, as an element-wise operator broadcasts them.

    What an operand spreads over channels, such as a mask with one, ties none of them together.

    Args:
        call: For reasons.
        operands: Tensors.
        shape: Of the result.
        product: Whether a constant's zeros make zeros of the other operands.
    """
    import torch

    merged: list[Tensor] = []
    sources: list[set[int]] = []
    for number, operand in enumerate(operands):
        spread = tuple(operand.shape) != tuple(shape)
        own = [widened(labels, len(shape)) for labels in operand.maps]
        own = [labels for labels in own if varying(labels) or not spread]
        for index, match in _matches(own, merged):
            labels = own[index]
            if match is None:
                merged.append(labels)
                sources.append({number})
                continue
            call.coupling.tie(merged[match], labels)
            first, other = broadcast(merged[match], labels)
            merged[match] = squeezed(torch.where(first == FREE, other, first))
            sources[match].add(number)
    for labels, known in zip(merged, sources, strict=True):
        for number, operand in enumerate(operands):
            if call.rewritable or number in known:
                continue
            if not passes(operand, varying(labels), len(shape)):
                call.stay(labels, "meets numbers that no layer makes")
    if product:
        merged = [_masked(labels, operands, shape) for labels in merged]
    return Labelled(
        tuple(shape),
        tuple(merged),
        any(operand.fixed for operand in operands),
        learned=all(operand.learned or operand.value is not None for operand in operands)
        and any(operand.learned for operand in operands),
    )


def passes(operand: Labelled, dims: Sequence[int], ndim: int) -> bool:
    """Tell whether an operand without labels fits any number of channels along some dimensions."""
    if not operand.fixed:
        return True
    offset = ndim - len(operand.shape)
    own = [dim - offset for dim in dims if dim >= offset and operand.shape[dim - offset] > 1]
    if not own:
        return True
    if operand.value is None:
        return False
    value = operand.value
    return all(bool((value == value.narrow(dim, 0, 1)).all()) for dim in own)


def _matches(own: "Sequence[Tensor]", merged: "Sequence[Tensor]") -> "list[tuple[int, int | None]]":
    """Return for each map the known one that differs along the same dimensions, or None."""
    pairs = []
    for index, labels in enumerate(own):
        for number, other in enumerate(merged):
            shared = set(varying(labels)) & set(varying(other))
            alike = bool(shared) or not (varying(labels) or varying(other))
            if alike:
                pairs.append((math.prod(labels.shape[dim] for dim in shared), index, number))
    found: dict[int, int] = {}
    for _, index, number in sorted(pairs, key=lambda pair: -pair[0]):
        if index not in found and number not in found.values():
            found[index] = number
    return [(index, found.get(index)) for index in range(len(own))]


def _masked(labels: "Tensor", operands: Sequence[Labelled], shape: Sequence[int]) -> "Tensor":
    """Return the labels, free where a constant multiplies by zero."""
    import torch

    for operand in operands:
        if operand.value is None or not operand.value.ndim or bool((operand.value != 0).all()):
            continue
        zero = (widened(operand.value, len(shape)) == 0).expand(shape)
        dims = [dim for dim in range(len(shape)) if labels.shape[dim] == 1 and shape[dim] > 1]
        for dim in dims:
            zero = zero.all(dim, keepdim=True)
        labels = squeezed(torch.where(zero, FREE, labels))
    return labels
