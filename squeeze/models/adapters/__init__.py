"""Adapters: layers rewritten so that their widths may change.

An adapter turns layers of a freshly built or trained model into an equivalent form with the same
outputs, whose ``forward`` reads every width from its own layers and tensors. One file is one
adapter and its name is the adapter's name, which a bundle keeps. It defines ``adapt_(module) ->
int``, how many layers it rewrote, and where it needs it ``blocks(module)``, which means what the
function below means. Sizes that code writes down need no adapter
(``squeeze.models.written_sizes``).

A package of yours adds one through the entry-point group ``squeeze.models.adapters``.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from squeeze.core import plugins
from squeeze.models.adapters.base import Blocks

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Blocks", "adapt_", "apply_", "blocks", "names"]

ADAPTERS = "squeeze.models.adapters"


def names() -> tuple[str, ...]:
    """Return the names of all adapters, in the order in which they are tried."""
    return tuple(sorted(plugins.names(ADAPTERS)))


def adapt_(module: "nn.Module") -> tuple[str, ...]:
    """Apply every adapter that finds something to rewrite, in place.

    Args:
        module: The model; its outputs stay the same.

    Returns:
        The names of those that did, in the order applied.
    """
    return tuple(name for name in names() if plugins.load(ADAPTERS, name).adapt_(module))


def apply_(module: "nn.Module", names: Sequence[str]) -> None:
    """Apply exactly these adapters, in this order: what reloading a bundle does.

    Raises:
        InputError: No adapter has this name.
    """
    for name in names:
        plugins.load(ADAPTERS, name).adapt_(module)


def blocks(module: "nn.Module") -> "dict[nn.Module, Blocks]":
    """Return the layers whose output channels are equal parts, such as heads."""
    parts = [plugins.load(ADAPTERS, name) for name in names()]
    parts = [part for part in parts if hasattr(part, "blocks")]
    return {layer: own for part in parts for layer, own in part.blocks(module).items()}
