"""Adapters: layers rewritten so that Torch-Pruning can trace them and their widths may change.

An adapter turns layers of a freshly built or trained model into an equivalent form with the same
outputs, whose ``forward`` reads every width from its own layers and tensors. One file is one
adapter and its name is the adapter's name, which a bundle keeps. It defines ``adapt_(module) ->
int``, how many layers it rewrote, and where it needs them ``pruners()``, ``blocks(module)``,
``connect_(graph)`` and ``resize_(module)``, which mean what the functions below mean.

A package of yours adds one through the entry-point group ``squeeze.models.adapters``.
"""

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from squeeze.core import plugins
from squeeze.models.adapters.base import Blocks

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Blocks", "adapt_", "apply_", "blocks", "connect_", "names", "pruners", "resize_"]

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


def pruners() -> dict[Any, Any]:
    """Return Torch-Pruning's ``customized_pruners`` for the layers that adapters introduce.

    Returns:
        ``{layer class: torch_pruning BasePruningFunc}``, a fresh one at each call.
    """
    return {kind: own for part in _parts("pruners") for kind, own in part.pruners().items()}


def connect_(graph: Any) -> None:  # noqa: ANN401
    """Tell a ``torch_pruning.DependencyGraph`` which channels correspond, once it is built.

    Without it the layers compute correctly, but a shuffled channel would be removed only where it
    is made and read as zeros later.
    """
    for part in _parts("connect_"):
        part.connect_(graph)


def blocks(module: "nn.Module") -> "dict[nn.Module, Blocks]":
    """Return the layers whose output channels are equal parts, such as heads."""
    return {layer: own for part in _parts("blocks") for layer, own in part.blocks(module).items()}


def resize_(module: "nn.Module") -> None:
    """Set what depends on widths, after channels were removed."""
    for part in _parts("resize_"):
        part.resize_(module)


def _parts(function: str) -> Iterator[ModuleType]:
    from squeeze.models.adapters.layers import attention, select

    adapters = (plugins.load(ADAPTERS, name) for name in names())
    return (part for part in (select, attention, *adapters) if hasattr(part, function))
