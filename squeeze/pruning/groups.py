"""Groups of coupled channels: what a prune step removes together."""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor, nn

    S = TypeVar("S", "Dependency", "WrittenSize")


@dataclass(frozen=True)
class Dependency:
    """One side of one layer (or one bare parameter) that loses channels with a group.

    Attributes:
        path: The layer's or parameter's path in the module.
        kind: Its class.
        is_out: Whether output channels go; input channels otherwise.
        indices: The layer's own channels, one per entry of ``roots``.
        roots: The group's channels that they belong to.
        dimension: The pruned dimension of a bare parameter.
    """

    path: str
    kind: str
    is_out: bool
    indices: tuple[int, ...]
    roots: tuple[int, ...]
    dimension: int | None = None

    @property
    def side(self) -> tuple[str, bool, int | None]:
        """What tells it from others."""
        return self.path, self.is_out, self.dimension


@dataclass(frozen=True)
class WrittenSize:
    """A size in a forward function's code that counts a group's channels.

    Attributes:
        path: The module whose function it is.
        call: Its line, and how often that was passed (``squeeze.models.written_sizes``).
        place: Which of the call's sizes.
        written: What the code says; negative where it counts from the end, and a float where it is
            a factor worked out of a width.
        indices: The places that are counted, one per entry of ``roots``.
        roots: The group's channels that they belong to.
    """

    path: str
    call: str
    place: int
    written: float
    indices: tuple[int, ...]
    roots: tuple[int, ...]

    @property
    def side(self) -> tuple[str, str, int]:
        """What tells it from others."""
        return self.path, self.call, self.place


@dataclass(frozen=True)
class ChannelGroup:
    """Channels of several layers that can only go together.

    Attributes:
        name: The layer whose output channels number the group's.
        channels: How many there are.
        parts: Equal parts that the channels come in: groups of a convolution, attention heads.
        whole: Whether whole parts go, rather than the same channels of every part.
        dependencies: All sides of layers that lose channels.
        kept: Why the group is left alone; None where it can be pruned.
        renormed: Whether a norm takes statistics of its channels, so that the numbers of those that
            are left change.
        sizes: What the code says of how many there are.
        unit_of: The unit of every channel, where these are no parts side by side.
    """

    name: str
    channels: int
    parts: int
    whole: bool
    dependencies: tuple[Dependency, ...]
    kept: str | None
    renormed: bool = False
    sizes: tuple[WrittenSize, ...] = ()
    unit_of: tuple[int, ...] = ()

    @property
    def unit(self) -> int:
        """Channels that go at once."""
        return self.channels // self.parts if self.whole else self.parts

    @property
    def units(self) -> int:
        """How many times ``unit`` the group has."""
        return self.channels // self.unit

    def of_unit(self, unit: int) -> list[int]:
        """Return the channels of one unit."""
        if self.unit_of:
            return [channel for channel, own in enumerate(self.unit_of) if own == unit]
        size = self.channels // self.parts
        if self.whole:
            return list(range(unit * size, (unit + 1) * size))
        return [part * size + unit for part in range(self.parts)]

    def per_unit(self, scores: "Tensor") -> "Tensor":
        """Sum scores ``(channels,)`` into ``(units,)``."""
        if self.unit_of:
            order = sorted(range(self.channels), key=self.unit_of.__getitem__)
            return scores[order].reshape(self.units, -1).sum(1)
        by_part = scores.reshape(self.parts, -1)
        return by_part.sum(1) if self.whole else by_part.sum(0)

    def removable(self, order: Iterable[int], count: int) -> set[int]:
        """Return the first ``count`` units that can go without leaving a side without channels.

        Args:
            order: Units, those first that go first.
            count: How many; fewer where the rest is needed.
        """
        left = [Counter(dict.fromkeys(units, 1)) for units in self._partial]
        gone: set[int] = set()
        for unit in order:
            if len(gone) == count:
                break
            own = [units for units in left if units[unit]]
            if any(units.total() == 1 for units in own):
                continue
            for units in own:
                units[unit] = 0
            gone.add(unit)
        return gone

    @cached_property
    def _partial(self) -> list[set[int]]:
        """The units on sides that not all of them are on, such as a piece of a split."""
        size = self.channels // self.parts
        every = range(self.channels)
        unit_of = self.unit_of or [c // size if self.whole else c % size for c in every]
        sides = [own.roots for own in self.dependencies] + [own.roots for own in self.sizes]
        found = [{unit_of[root] for root in roots} for roots in sides]
        return [units for units in found if len(units) < self.units]

    @property
    def shape(self) -> str:
        """What the group is made of; equal for isomorphic groups."""
        return " ".join(
            f"{dependency.kind}.{'out' if dependency.is_out else 'in'}"
            for dependency in self.dependencies
        )


@dataclass(frozen=True)
class PruningGroups:
    """All groups of a module.

    Attributes:
        module: The module they were found in; adapted, otherwise as it was. Its parameters may use
            the memory of the model's, so they are replaced, and not written.
        groups: In the order of their layers in the module.
        adapters: What rewrote the module, in order.
        unreached: Layers with weights that the forward pass never touches.
        layers: Path to class name, as patterns speak of them.
    """

    module: "nn.Module"
    groups: tuple[ChannelGroup, ...]
    adapters: tuple[str, ...]
    unreached: tuple[str, ...]
    layers: "Mapping[str, str]" = field(default_factory=dict)

    @property
    def prunable(self) -> tuple[ChannelGroup, ...]:
        """The groups that are not left alone."""
        return tuple(group for group in self.groups if group.kept is None)


@dataclass(frozen=True)
class ChannelCut:
    """What one side of one layer, or a bare parameter, loses.

    Attributes:
        dependency: The side.
        indices: Its channels that go, ascending.
    """

    dependency: Dependency
    indices: tuple[int, ...]


def cuts(groups: Iterable[ChannelGroup], gone: Mapping[str, Collection[int]]) -> list[ChannelCut]:
    """Return what every side loses, whatever groups its channels belong to.

    Args:
        groups: Those of a survey.
        gone: Group name to the units that go.
    """
    return [ChannelCut(*found) for found in lost(groups, gone, lambda group: group.dependencies)]


def lost(
    groups: Iterable[ChannelGroup],
    gone: Mapping[str, Collection[int]],
    sides: "Callable[[ChannelGroup], tuple[S, ...]]",
) -> "list[tuple[S, tuple[int, ...]]]":
    """Return the indices that every side loses, in order.

    Args:
        groups: Those of a survey.
        gone: Group name to the units that go.
        sides: What of a group loses something.
    """
    found: dict[Hashable, tuple[S, set[int]]] = {}
    for group in groups:
        roots = {channel for unit in gone.get(group.name, ()) for channel in group.of_unit(unit)}
        if not roots:
            continue
        for side in sides(group):
            pairs = zip(side.indices, side.roots, strict=True)
            indices = {index for index, root in pairs if root in roots}
            found.setdefault(side.side, (side, set()))[1].update(indices)
    return [(side, tuple(sorted(indices))) for side, indices in found.values() if indices]
