"""Labels: for every element of a tensor, which channels it would go with.

A label is a number that stands for one slice of one parameter (``conv.weight[5]``). A tensor
carries maps of labels, each of the tensor's own shape with size 1 along the dimensions on which it
does not depend, so that a feature map of any size costs as many labels as it has channels. Most
tensors have one map; a product of two activations, or a weight, has one per dimension of channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

FREE = 0
"""The label of what comes along with any channel, such as the zeros of padding."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """What the engine knows of one tensor.

    Attributes:
        shape: Of the tensor.
        maps: Labels, each broadcastable to ``shape`` and of as many dimensions.
        fixed: Whether elements without a label hold something that cannot go: those of an image
            do, those of ``torch.zeros`` do not.
        value: What the tensor holds, where no input or parameter has a part in it.
        learned: Whether it is a parameter, or made of parameters only.
        path: The parameter's or buffer's path, where the tensor is one.
    """

    shape: tuple[int, ...]
    maps: "tuple[Tensor, ...]" = ()
    fixed: bool = True
    value: "Tensor | None" = None
    learned: bool = False
    path: str | None = None

    def with_maps(self, maps: "Sequence[Tensor]", shape: Sequence[int] | None = None) -> "Labelled":
        """Return a tensor that depends on what this one depends on, with other labels."""
        new = self.shape if shape is None else tuple(shape)
        return replace(self, shape=new, maps=tuple(maps), value=None, path=None)


def varying(labels: "Tensor") -> tuple[int, ...]:
    """Return the dimensions along which a map differs."""
    return tuple(dim for dim, size in enumerate(labels.shape) if size > 1)


def squeezed(labels: "Tensor") -> "Tensor":
    """Return the map with size 1 along the dimensions on which it does not depend."""
    for dim, size in enumerate(labels.shape):
        if size > 1:
            first = labels.narrow(dim, 0, 1)
            if labels.stride(dim) == 0 or bool((labels == first).all()):
                labels = first
    return labels


def broadcast(first: "Tensor", other: "Tensor") -> "tuple[Tensor, Tensor]":
    """Return both maps in their common shape."""
    import torch

    one, two = torch.broadcast_tensors(first, other)  # type: ignore[no-untyped-call]
    return one, two


def collapsed(labels: "Tensor", dims: Sequence[int]) -> "tuple[Tensor, Tensor, Tensor]":
    """Let one label stand for all along some dimensions.

    Args:
        labels: A map.
        dims: Dimensions that go to size 1.

    Returns:
        The map of what stands for each place, and pairs of labels that must be tied for that.
    """
    import torch

    over = [dim for dim in dims if labels.shape[dim] > 1]
    if not over:
        none = torch.empty(0, dtype=torch.long)
        return labels, none, none
    first = labels.amax(over, keepdim=True)
    others = first.expand_as(labels)
    differ = (labels != others) & (labels != FREE)
    return first, others[differ], labels[differ]


def widened(labels: "Tensor", ndim: int) -> "Tensor":
    """Return the map with dimensions of size 1 in front, as broadcasting adds them."""
    return labels.reshape((1,) * (ndim - labels.ndim) + tuple(labels.shape))
