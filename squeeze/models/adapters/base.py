"""What all adapters share: what a block is, and how a layer is found and replaced."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

Foreign = Any
"""A layer of a library without types."""


@dataclass(frozen=True)
class Blocks:
    """A layer's output channels as equal parts, of which the same channels go.

    Attributes:
        count: How many parts.
        size: Channels of one part; ``count * size`` is the layer's width.
    """

    count: int
    size: int


def is_a(module: "nn.Module", *kinds: str) -> bool:
    """Tell a class by its full name, without importing the library that it is from.

    Args:
        module: Any layer.
        kinds: Full names such as ``torchvision.models.densenet.DenseNet``; a subclass, whose
            forward may differ, does not count.
    """
    return f"{type(module).__module__}.{type(module).__qualname__}" in kinds


def replace_(
    root: "nn.Module",
    wanted: "Callable[[nn.Module], bool]",
    build: "Callable[[Foreign], nn.Module]",
) -> int:
    """Replace layers inside ``root``, in place; ``root`` itself stays.

    Args:
        root: The model.
        wanted: Whether a layer is to be replaced.
        build: Makes the new layer, which takes over the old one's tensors.

    Returns:
        How many layers were replaced; one that is used in two places counts once.
    """
    made: dict[nn.Module, nn.Module] = {}
    for parent in list(root.modules()):
        for child in list(parent.children()):
            if child not in made and wanted(child):
                made[child] = build(child).train(child.training)
        # named_children would list a child that has two names here only once
        for name, part in list(parent._modules.items()):  # noqa: SLF001
            if part is not None and part in made:
                setattr(parent, name, made[part])
    return len(made)
