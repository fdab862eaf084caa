"""Groups of coupled channels: what a prune step removes together."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Dependency:
    """One side of one layer (or one bare parameter) that loses channels with a group.

    Attributes:
        path: The layer's or parameter's path in the module.
        kind: Its class.
        is_out: Whether output channels go; input channels otherwise.
        indices: The layer's own channels, one per entry of ``roots``.
        roots: The group's channels that they belong to.
        remove: Torch-Pruning's function, ``(layer or parameter, indices) -> it``.
        dimension: The pruned dimension of a bare parameter.
    """

    path: str
    kind: str
    is_out: bool
    indices: tuple[int, ...]
    roots: tuple[int, ...]
    remove: Callable[[Any, list[int]], Any] = field(repr=False)
    dimension: int | None = None


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
        members: Torch-Pruning's own group with all channels, for its criteria.
    """

    name: str
    channels: int
    parts: int
    whole: bool
    dependencies: tuple[Dependency, ...]
    kept: str | None
    members: Any = field(repr=False, compare=False)

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
        size = self.channels // self.parts
        if self.whole:
            return list(range(unit * size, (unit + 1) * size))
        return [part * size + unit for part in range(self.parts)]

    def per_unit(self, scores: "Tensor") -> "Tensor":
        """Sum scores ``(channels,)`` into ``(units,)``."""
        by_part = scores.reshape(self.parts, -1)
        return by_part.sum(1) if self.whole else by_part.sum(0)

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
    found: dict[tuple[str, bool], tuple[Dependency, set[int]]] = {}
    for group in groups:
        roots = {channel for unit in gone.get(group.name, ()) for channel in group.of_unit(unit)}
        if not roots:
            continue
        for dependency in group.dependencies:
            pairs = zip(dependency.indices, dependency.roots, strict=True)
            indices = {index for index, root in pairs if root in roots}
            side = dependency.path, dependency.is_out
            found.setdefault(side, (dependency, set()))[1].update(indices)
    return [ChannelCut(side, tuple(sorted(indices))) for side, indices in found.values() if indices]
