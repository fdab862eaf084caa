"""What regularisers of sparse training share: a group's weights, channel by channel.

A regulariser is one file here with ``regularizer(groups, strength)``, which returns a function that
adds to the gradients between backward and optimizer step; one with a memory is an ``nn.Module``
that keeps it in buffers. Torch-Pruning's own pruners are not used: in 1.6.1 they fail on grouped
convolutions, and one of them changes a copy of the gradient.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from squeeze.pruning.groups import ChannelGroup, Dependency, PruningGroups

if TYPE_CHECKING:
    from torch import Tensor, nn

Regularizer = Callable[[], None]


class GroupWeights:
    """The weights of one group's channels, wherever they are."""

    def __init__(self, module: "nn.Module", group: ChannelGroup) -> None:
        self.name, self.channels = group.name, group.channels
        self._places = [
            place for dependency in group.dependencies if (place := _place(module, dependency))
        ]
        self._dependencies = [
            dependency for dependency in group.dependencies if _place(module, dependency)
        ]
        self._module = module

    def squared_norms(self) -> "Tensor":
        """Return the summed squares of every channel's weights ``(channels,)``."""
        import torch

        total: Tensor | None = None
        for weight, axis, indices, roots in self._weights():
            squares = weight.detach().movedim(axis, 0).reshape(weight.shape[axis], -1).pow(2).sum(1)
            if total is None:
                total = torch.zeros(self.channels, device=weight.device)
            total.index_add_(0, roots, squares[indices])
        return torch.zeros(self.channels) if total is None else total

    def decay_(self, strength: "Tensor") -> None:
        """Add ``strength * weight`` to every channel's gradients, in place.

        Args:
            strength: ``(channels,)``, at least 0.
        """
        for weight, axis, indices, roots in self._weights():
            if weight.grad is not None:
                shape = [1] * weight.ndim
                shape[axis] = -1
                pull = weight.detach().index_select(axis, indices) * strength[roots].view(shape)
                weight.grad.index_add_(axis, indices, pull)

    def batch_norms(self) -> "list[tuple[Any, Tensor]]":
        """Return the batch norms that have a scale, each with its channels of this group."""
        import torch
        from torch.nn.modules.batchnorm import _BatchNorm

        layers = [
            (self._module.get_submodule(_owner(dependency)), dependency.indices)
            for dependency in self._dependencies
        ]
        return [
            (layer, torch.tensor(indices))
            for layer, indices in layers
            if isinstance(layer, _BatchNorm) and layer.affine
        ]

    def _weights(self) -> "Iterator[tuple[Tensor, int, Tensor, Tensor]]":
        """Yield weights with the channels' axis, their indices and the group's channels."""
        import torch

        for dependency, (leaf, axis) in zip(self._dependencies, self._places, strict=True):
            owner: Any = self._module.get_submodule(_owner(dependency))
            weight = getattr(owner, leaf)
            yield (
                weight,
                axis,
                torch.tensor(dependency.indices, device=weight.device),
                torch.tensor(dependency.roots, device=weight.device),
            )


def all_weights(found: PruningGroups, groups: Sequence[ChannelGroup]) -> list[GroupWeights]:
    """Return the weights of several groups of one survey."""
    return [GroupWeights(found.module, group) for group in groups]


def _owner(dependency: Dependency) -> str:
    return dependency.path if dependency.dimension is None else dependency.path.rpartition(".")[0]


def _place(module: "nn.Module", dependency: Dependency) -> tuple[str, int] | None:
    """Return the parameter's name and the channels' axis; None where channels own no weight."""
    if dependency.dimension is not None:
        return dependency.path.rpartition(".")[2], dependency.dimension
    layer: Any = module.get_submodule(dependency.path)
    weight = getattr(layer, "weight", None)
    if weight is None:
        return None
    axis = 0 if dependency.is_out or weight.ndim == 1 or _is_depthwise(layer) else 1
    if getattr(layer, "transposed", False):
        axis = 1 - axis
    fits = max(dependency.indices) < weight.shape[axis]
    return ("weight", axis) if fits else None  # inputs of a grouped convolution share weights


def _is_depthwise(layer: Any) -> bool:  # noqa: ANN401
    return getattr(layer, "groups", 1) == getattr(layer, "out_channels", 0) > 1
