"""Sets of slices as groups: a layer numbers the channels, and every other side follows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from squeeze.pruning.graph.labels import FREE
from squeeze.pruning.groups import ChannelGroup, Dependency, WrittenSize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from squeeze.pruning.graph.coupling import Components
    from squeeze.pruning.graph.layers import LayerSide
    from squeeze.pruning.graph.sizes import SizedDimension

OUTPUT = "makes the model's output"
"""Why the last layer is left alone."""


@dataclass(frozen=True)
class _Layout:
    """How a layer's channels come in units: ``parts`` of equal width, whole ones or not.

    Where they lie in no such order, ``unit_of`` says it channel by channel.
    """

    parts: int
    whole: bool
    unit_of: tuple[int, ...] = ()


def groups(
    sides: "Sequence[LayerSide]",
    components: "Components",
    stays: Mapping[int, str],
    renormed: "set[int]",
    order: "Mapping[str, tuple[int, int]]",
    sized: "Sequence[SizedDimension]",
) -> list[ChannelGroup]:
    """Return the groups of channels.

    Args:
        sides: All sides of layers.
        components: Label to the number of its set.
        stays: Number of a set to the reason why it stays.
        renormed: Sets of which a norm takes statistics.
        order: Layer to whether it had rather not number a group, and its place when layers are
            visited from the outputs.
        sized: What the code says of how many channels there are.
    """
    sets = [components[side.labels] for side in sides]
    makers = [number for number, side in enumerate(sides) if side.makes]
    group_of = _joined(makers, sets, len(components))
    members = _by_group(sets, group_of)
    counted = [(one, own) for one in sized if (own := _counted(one, components)) is not None]
    counted_by = _by_group([own for _, own in counted], group_of)
    found = []
    for group, numbers in members.items():
        inside = {n: group_of[sets[n]] == group for n in numbers}
        every = np.unique(np.concatenate([sets[n][inside[n]] for n in numbers]))
        root, layout, problem = _root(sides, sets, every, numbers, order)
        numbers.sort(key=lambda n: n != root)
        dependencies = [_dependency(sides[n], sets[n], sets[root], inside[n]) for n in numbers]
        made = ChannelGroup(
            sides[root].path,
            len(sets[root]),
            layout.parts,
            layout.whole,
            tuple(dependencies),
            _reason(every, stays) or problem,
            renormed=bool(renormed & set(every.tolist())),
            sizes=tuple(
                _size(one, own, sets[root], group_of[own] == group)
                for one, own in (counted[n] for n in counted_by.get(group, ()))
            ),
            unit_of=layout.unit_of,
        )
        found.append(made)
    return found


def _joined(
    makers: Sequence[int], sets: "Sequence[NDArray[np.int64]]", count: int
) -> "NDArray[np.int64]":
    """Return the group of every set, -1 without one: what one layer makes is one group."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    made = np.concatenate([np.zeros(0, np.int64), *(sets[n] for n in makers)])
    first = np.concatenate(
        [np.zeros(0, np.int64), *(np.full(len(sets[n]), sets[n][0]) for n in makers)]
    )
    edges = coo_array((np.ones(len(made), np.bool_), (first, made)), shape=(count, count))
    found: NDArray[np.int64] = connected_components(edges, directed=False)[1].astype(np.int64)
    is_made = np.zeros(count, np.bool_)
    is_made[made] = True
    found[~is_made] = -1
    return found


def _reason(every: "NDArray[np.int64]", stays: Mapping[int, str]) -> str | None:
    reasons = [stays[one] for one in every.tolist() if one in stays]
    return OUTPUT if OUTPUT in reasons else next(iter(reasons), None)


def _root(
    sides: "Sequence[LayerSide]",
    sets: "Sequence[NDArray[np.int64]]",
    every: "NDArray[np.int64]",
    numbers: Sequence[int],
    order: "Mapping[str, tuple[int, int]]",
) -> "tuple[int, _Layout, str | None]":
    """Return the narrowest layer that reaches all sets equally often, or why there is none."""
    made = [number for number in numbers if sides[number].makes]
    roots = [number for number in made if sides[number].dimension is None]
    last = (1, len(order))

    def rank(number: int) -> tuple[int, int, int]:
        is_other, place = order.get(sides[number].path, last)
        return is_other, len(sets[number]), place

    for root in sorted(roots, key=rank):
        if len(np.unique(sets[root])) == len(every):
            layout = _layout(sets[root], len(every))
            if layout is not None:
                return root, layout, None
    none = _Layout(1, whole=False)
    if roots:
        return max(roots, key=rank), none, "has channels that come in unequal numbers"
    return made[-1], none, "is made by a parameter that is in no layer of a kind that pruning knows"


def _layout(own: "NDArray[np.int64]", units: int) -> _Layout | None:
    """Return how channels come in units, None where they come unevenly."""
    each = len(own) // units
    if each * units != len(own):
        return None
    rows = own.reshape(each, units)
    if bool((rows == rows[0]).all()):
        return _Layout(each, whole=False)
    rows = own.reshape(units, each)
    if bool((rows == rows[:, :1]).all()):
        return _Layout(units, whole=True)
    _, first, numbers, counts = np.unique(
        own, return_index=True, return_inverse=True, return_counts=True
    )
    if len(set(counts.tolist())) > 1:
        return None
    rank = np.empty_like(first)
    rank[np.argsort(first)] = np.arange(units)  # in the order in which they begin
    return _Layout(each, whole=False, unit_of=tuple(rank[numbers].tolist()))


def _by_group(
    sets: "Sequence[NDArray[np.int64]]", group_of: "NDArray[np.int64]"
) -> dict[int, list[int]]:
    """Return for every group which of some lists of sets have one of its own."""
    found: dict[int, list[int]] = defaultdict(list)
    for number, own in enumerate(sets):
        for group in np.unique(group_of[own]):
            if group >= 0:
                found[int(group)].append(number)
    return found


def _counted(one: "SizedDimension", components: "Components") -> "NDArray[np.int64] | None":
    """Return the sets along a dimension, None where they differ along others as well.

    Where all along it are one set, however others differ, nothing is lost: it alone is returned.
    """
    own = np.moveaxis(components[one.labels.numpy()], one.dim, -1)
    free = np.moveaxis(one.labels.numpy() == FREE, one.dim, -1)
    rows, known = own.reshape(-1, own.shape[-1]), ~free.reshape(-1, own.shape[-1])
    first: NDArray[np.int64] = np.take_along_axis(rows, known.argmax(0)[None], 0)[0]
    if known.any(0).all() and ((rows == first) | ~known).all():
        return first
    single: NDArray[np.int64] = rows[:1, 0]
    return single if known.all() and (rows == rows[:, :1]).all() else None


def _size(
    one: "SizedDimension",
    sets: "NDArray[np.int64]",
    root: "NDArray[np.int64]",
    inside: "NDArray[np.bool_]",
) -> WrittenSize:
    stays = len(sets) != one.labels.shape[one.dim]
    indices, roots = ((), ()) if stays else _matched(sets, root, inside)
    return WrittenSize(one.path, one.call, one.place, one.written, indices, roots)


def _dependency(
    side: "LayerSide",
    sets: "NDArray[np.int64]",
    root: "NDArray[np.int64]",
    inside: "NDArray[np.bool_]",
) -> Dependency:
    indices, roots = _matched(sets, root, inside)
    return Dependency(side.path, side.kind, side.is_out, indices, roots, side.dimension)


def _matched(
    sets: "NDArray[np.int64]", root: "NDArray[np.int64]", inside: "NDArray[np.bool_]"
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return channels with those of the root that they go with, as evenly as can be."""
    indices = np.flatnonzero(inside)
    own = sets[indices]
    by_set = np.argsort(root, kind="stable")
    starts = np.searchsorted(root[by_set], own, side="left")
    many = np.searchsorted(root[by_set], own, side="right") - starts
    order = np.argsort(own, kind="stable")
    sorted_own = own[order]
    first = np.searchsorted(sorted_own, sorted_own, side="left")
    last = np.searchsorted(sorted_own, sorted_own, side="right")
    rank, count = np.empty_like(own), np.empty_like(own)
    rank[order] = np.arange(len(own)) - first
    count[order] = last - first
    known = many > 0  # without a root that reaches all, some sets have no channel of it
    picked = starts + rank * many // np.maximum(count, 1)
    roots = by_set[np.minimum(picked, len(root) - 1)]
    return tuple(indices[known].tolist()), tuple(roots[known].tolist())
