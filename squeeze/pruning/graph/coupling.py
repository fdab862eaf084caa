"""The ties between labels, and what they make of them: sets of slices that only go together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from squeeze.pruning.graph.labels import FREE, broadcast, collapsed, squeezed, varying

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from squeeze.pruning.graph.sizes import SizedDimension

    Components = NDArray[np.int64]
    """Label to the number of its set."""


@dataclass(frozen=True)
class ParameterSide:
    """One dimension of one parameter or buffer, whose indices are labels.

    Attributes:
        path: The tensor's path in the module.
        dim: The dimension.
        first: The label of index 0; the others follow.
        size: How many indices.
    """

    path: str
    dim: int
    first: int
    size: int

    @property
    def labels(self) -> "NDArray[np.int64]":
        """All its labels."""
        return np.arange(self.first, self.first + self.size)


@dataclass(frozen=True)
class _Grid:
    """Labels over several dimensions, of which whole slices along one dimension go."""

    labels: "Tensor"
    along: int | None
    """The dimension whose indices go, if a rule knows it."""


@dataclass
class Coupling:
    """Collects labels, ties and reasons while a graph is walked.

    Attributes:
        sides: Every dimension of a tensor that has labels.
        makers: Sides whose labels are channels that a layer makes, in the order of the walk.
        stays: Labels that stay, with the reason.
        renormed: Labels over which something averages: the numbers of those that are left change.
        counted: Path of a layer without tensors to the labels of the channels that it counts.
        sizes: What the code says of how many channels there are.
    """

    sides: dict[tuple[str, int], ParameterSide] = field(default_factory=dict)
    makers: dict[tuple[str, int], ParameterSide] = field(default_factory=dict)
    stays: "list[tuple[Tensor, str]]" = field(default_factory=list)
    renormed: "list[Tensor]" = field(default_factory=list)
    counted: "dict[str, Tensor]" = field(default_factory=dict)
    sizes: "list[SizedDimension]" = field(default_factory=list)
    _next: int = 1
    _pairs: "list[tuple[Tensor, Tensor]]" = field(default_factory=list)
    _nested: "list[tuple[Tensor, Tensor, str]]" = field(default_factory=list)
    _apart: "list[tuple[Tensor, int, Tensor, str]]" = field(default_factory=list)
    _grids: list[_Grid] = field(default_factory=list)

    def side(self, path: str, dim: int, size: int) -> ParameterSide:
        """Return the side of a tensor's dimension, a new one at the first time."""
        found = self.sides.get((path, dim))
        if found is None:
            found = self.sides[path, dim] = ParameterSide(path, dim, self._next, size)
            self._next += size
        return found

    def make(self, labels: "Tensor") -> None:
        """Note that a layer makes these channels: the sides that they are slices of."""
        every = list(self.sides.items())  # their labels ascend
        first = np.array([side.first for _, side in every])
        own = np.unique(labels.numpy())
        for place in np.unique(np.searchsorted(first, own[own != FREE], side="right") - 1):
            key, side = every[place]
            if side.first + side.size > own[own >= side.first][0]:
                self.makers.setdefault(key, side)

    def count(self, path: str, labels: "Tensor") -> None:
        """Note that a layer counts channels ``(C,)``; where it is called again, the same ones."""
        self.tie(self.counted.setdefault(path, labels), labels)

    def fresh(self, count: int) -> "Tensor":
        """Return labels of which no parameter has a slice ``(count,)``."""
        import torch

        self._next += count
        return torch.arange(self._next - count, self._next)

    def tie(self, first: "Tensor", other: "Tensor") -> None:
        """Let labels at equal places go together; both are broadcast, and ``FREE`` ties nothing."""
        first, other = broadcast(first, other)
        differ = (first != other) & (first != FREE) & (other != FREE)
        if bool(differ.any()):
            self._pairs.append((first[differ], other[differ]))

    def collapse(self, labels: "Tensor", dims: Sequence[int]) -> "Tensor":
        """Tie all labels along some dimensions; return the map with size 1 there."""
        found, first, other = collapsed(labels, dims)
        if len(first):
            self._pairs.append((first, other))
        return found

    def stay(self, labels: "Tensor", reason: str) -> None:
        """Keep channels."""
        self.stays.append((labels.reshape(-1), reason))

    def stay_apart(self, labels: "Tensor", dim: int, own: "Tensor", reason: str) -> None:
        """Keep channels, unless all that lie along a dimension turn out to go together.

        Args:
            labels: A map.
            dim: The dimension along which something tells its places apart.
            own: The labels that stay then.
            reason: Why.
        """
        self._apart.append((labels, dim, own, reason))

    def nest(self, outer: "Tensor", inner: "Tensor", reason: str) -> None:
        """Note that an outer label (an attention head) goes only with all labels inside it."""
        outer, inner = broadcast(outer, inner)
        self._nested.append((outer.reshape(-1), inner.reshape(-1), reason))

    def grid(self, labels: "Tensor", along: int | None = None) -> None:
        """Note that what is left of a tensor must be a grid again, if labels differ along two."""
        labels = squeezed(labels)
        if len(varying(labels)) > 1:
            self._grids.append(_Grid(labels, along))

    def solve(self, *, whole_heads: bool) -> "Components":
        """Return for every label the number of its set.

        Args:
            whole_heads: Whether attention loses whole heads rather than channels of each.
        """
        pairs = list(self._pairs)
        for outer, inner, reason in self._nested:
            if whole_heads:
                pairs.append((outer, inner))
            else:
                self.stay(outer, reason)
        hinted = sorted(self._grids, key=lambda grid: grid.along is None)
        while True:
            components = self._connected(pairs)
            added = False
            for grid in hinted:
                extra = _uneven(grid, components)
                if extra is not None:
                    pairs.append(extra)
                    added = True
                    components = self._connected(pairs)
            if not added:
                break
        for labels, dim, own, reason in self._apart:
            if _differ(labels, dim, components):
                self.stay(own, reason)
        return components

    def _connected(self, pairs: "Iterable[tuple[Tensor, Tensor]]") -> "Components":
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        first = np.concatenate([np.zeros(0, np.int64), *(p[0].numpy() for p in pairs)])
        other = np.concatenate([np.zeros(0, np.int64), *(p[1].numpy() for p in pairs)])
        edges = coo_array(
            (np.ones(len(first), np.bool_), (first, other)), shape=(self._next, self._next)
        )
        found: Components = connected_components(edges, directed=False)[1].astype(np.int64)
        return found


def _differ(labels: "Tensor", dim: int, components: "Components") -> bool:
    """Tell whether sets differ along a dimension."""
    import torch

    places = torch.from_numpy(components)[labels]
    places[labels == FREE] = -1
    most = places.amax(dim, keepdim=True)
    return not bool(((places == most) | (places < 0)).all())


def _uneven(grid: _Grid, components: "Components") -> "tuple[Tensor, Tensor] | None":
    """Return ties that make whole slices go, or None where that is so already."""
    import torch

    places = torch.from_numpy(components)[grid.labels]
    places[grid.labels == FREE] = -1
    dims = varying(grid.labels)
    for dim in dims:
        most = places.amax([d for d in range(places.ndim) if d != dim], keepdim=True)
        if bool(((places == most) | (places < 0)).all()):
            return None
    along = grid.along
    if along is None:  # the widest one; the last one of equals
        along = max(dims, key=lambda dim: (grid.labels.shape[dim], dim))
    _, first, other = collapsed(grid.labels, [dim for dim in dims if dim != along])
    return first, other
