"""Disjoint sets: what belongs together once pairs have been joined."""

from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class UnionFind(Generic[T]):
    """Disjoint sets of hashable things; a thing that was never joined is a set of its own.

    Finding shortens the paths it walks (path halving), so that long chains stay cheap.
    """

    def __init__(self) -> None:
        self._parent: dict[T, T] = {}

    def __len__(self) -> int:
        """Return how many things have been seen."""
        return len(self._parent)

    def root(self, thing: T) -> T:
        """Return the member that stands for the set of a thing."""
        parent = self._parent
        parent.setdefault(thing, thing)
        while parent[thing] != thing:
            parent[thing] = parent[parent[thing]]
            thing = parent[thing]
        return thing

    def join(self, first: T, other: T) -> None:
        """Unite the sets of two things; the root of ``first`` stands for both."""
        self._parent[self.root(other)] = self.root(first)
