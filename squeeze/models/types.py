"""A model in memory: its module, and how it can be built again."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.core.text import are_numbers
from squeeze.models.copying import copied
from squeeze.recipe.schema import Block, InputSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn


class PruningRound(Block):
    """One removal of channels, for the record.

    Attributes:
        importance: The criterion.
        removed: Layer to the indices, at that time, of the output channels that were removed.
    """

    importance: str
    removed: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build a model again, besides its tensors: no code, no pickle.

    Attributes:
        build: The factory's reference.
        folder: Where a relative ``./file.py`` in ``build`` starts.
        args: The factory's keyword arguments.
        input: What the model is fed.
        adapters: What rewrote the factory's module before it was pruned, in order.
        pruning: Every removal of channels since the factory, in order.
        classes: What the outputs are, in order; empty where nothing names them.
    """

    build: str
    folder: Path
    args: dict[str, object]
    input: InputSpec
    adapters: tuple[str, ...] = ()
    pruning: tuple[PruningRound, ...] = ()
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    """A torch module together with how to build it again.

    Attributes:
        notes: What is to be said about its input.
    """

    module: "nn.Module"
    architecture: Architecture
    notes: tuple[str, ...] = ()

    @property
    def input(self) -> InputSpec:
        """What the model is fed."""
        return self.architecture.input

    def fed(self, spec: InputSpec) -> "Model":
        """Return the same model with another input."""
        return replace(self, architecture=replace(self.architecture, input=spec))

    def copy(self) -> "Model":
        """Return a model whose module can be changed without changing this one's."""
        return replace(self, module=copied(self.module))

    def knowing(self, classes: "Sequence[str]") -> "Model":
        """Return the model with the names of its outputs; numbers name nothing."""
        named = () if are_numbers(classes) else tuple(classes)
        return replace(self, architecture=replace(self.architecture, classes=named))

    def pruned(
        self, module: "nn.Module", done: PruningRound, adapters: "tuple[str, ...]" = ()
    ) -> "Model":
        """Return the model after a further round of pruning.

        Args:
            module: The pruned module.
            done: The round.
            adapters: What rewrote the module before it, besides earlier rounds' adapters.
        """
        before = self.architecture
        return Model(
            module,
            replace(
                before,
                adapters=(*before.adapters, *adapters),
                pruning=(*before.pruning, done),
            ),
        )
