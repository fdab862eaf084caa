"""What regularisers of sparse training share: a group's weights, channel by channel.

A regulariser is one file here with ``regularizer(groups, strength)``, which returns a function that
adds to the gradients between backward and optimizer step; one with a memory is an ``nn.Module``
that keeps it in buffers. Torch-Pruning's own pruners are not used: in 1.6.1 they fail on grouped
convolutions, and one of them changes a copy of the gradient.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from squeeze.pruning.graph import ChannelGroup, Survey, Tie

if TYPE_CHECKING:
    from torch import Tensor, nn

Regularizer = Callable[[], None]


class GroupWeights:
    """The weights of one group's channels, wherever they are."""

    def __init__(self, module: "nn.Module", group: ChannelGroup) -> None:
        self.name, self.channels = group.name, group.channels
        self._places = [place for tie in group.ties if (place := _place(module, tie))]
        self._ties = [tie for tie in group.ties if _place(module, tie)]
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

        layers = [(self._module.get_submodule(_owner(tie)), tie.indices) for tie in self._ties]
        return [
            (layer, torch.tensor(indices))
            for layer, indices in layers
            if isinstance(layer, _BatchNorm) and layer.affine
        ]

    def _weights(self) -> "Iterator[tuple[Tensor, int, Tensor, Tensor]]":
        """Yield weights with the channels' axis, their indices and the group's channels."""
        import torch

        for tie, (leaf, axis) in zip(self._ties, self._places, strict=True):
            owner: Any = self._module.get_submodule(_owner(tie))
            weight = getattr(owner, leaf)
            yield (
                weight,
                axis,
                torch.tensor(tie.indices, device=weight.device),
                torch.tensor(tie.roots, device=weight.device),
            )


def all_weights(found: Survey, groups: Sequence[ChannelGroup]) -> list[GroupWeights]:
    """Return the weights of several groups of one survey."""
    return [GroupWeights(found.module, group) for group in groups]


def _owner(tie: Tie) -> str:
    return tie.path if tie.dimension is None else tie.path.rpartition(".")[0]


def _place(module: "nn.Module", tie: Tie) -> tuple[str, int] | None:
    """Return the parameter's name and the channels' axis; None where channels own no weight."""
    if tie.dimension is not None:
        return tie.path.rpartition(".")[2], tie.dimension
    layer: Any = module.get_submodule(tie.path)
    weight = getattr(layer, "weight", None)
    if weight is None:
        return None
    axis = 0 if tie.is_out or weight.ndim == 1 or _is_depthwise(layer) else 1
    if getattr(layer, "transposed", False):
        axis = 1 - axis
    fits = max(tie.indices) < weight.shape[axis]
    return ("weight", axis) if fits else None  # inputs of a grouped convolution share weights


def _is_depthwise(layer: Any) -> bool:  # noqa: ANN401
    return getattr(layer, "groups", 1) == getattr(layer, "out_channels", 0) > 1
