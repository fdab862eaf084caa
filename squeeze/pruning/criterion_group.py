"""Groups as Torch-Pruning's criteria see them: a list of layers with indices and functions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from squeeze.pruning.groups import Dependency


@dataclass(frozen=True)
class CriterionTarget:
    """What is pruned: a layer, or a bare parameter along a dimension."""

    module: Any
    pruning_dim: int | None = None


@dataclass(frozen=True)
class CriterionSide:
    """A target and Torch-Pruning's function that would remove its channels.

    Attributes:
        target: The layer.
        handler: The function, by which criteria tell which side is meant; None for other layers.
    """

    target: CriterionTarget
    handler: Any

    @property
    def layer(self) -> Any:  # noqa: ANN401
        """The layer or parameter."""
        return self.target.module

    @property
    def pruning_fn(self) -> Any:  # noqa: ANN401
        """The same function."""
        return self.handler


@dataclass(frozen=True)
class CriterionItem:
    """A side with its channels and the group's channels that they belong to."""

    dep: CriterionSide
    idxs: list[int]
    root_idxs: list[int]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.dep, self.idxs))


def members(module: "nn.Module", dependencies: "Sequence[Dependency]") -> list[CriterionItem]:
    """Return the group that a criterion of Torch-Pruning scores.

    Args:
        module: The surveyed module.
        dependencies: Of one group; the first one numbers its channels.
    """
    found = []
    for own in dependencies:
        if own.dimension is not None:
            owner, _, leaf = own.path.rpartition(".")
            layer: Any = getattr(module.get_submodule(owner), leaf)
        else:
            layer = module.get_submodule(own.path)
        side = CriterionSide(
            CriterionTarget(layer, own.dimension), _handler(layer, is_out=own.is_out)
        )
        found.append(CriterionItem(side, list(own.indices), list(own.roots)))
    return found


def _handler(layer: Any, *, is_out: bool) -> Any:  # noqa: ANN401
    from torch import nn
    from torch_pruning.pruner import function

    if isinstance(layer, nn.modules.conv._ConvNd):  # noqa: SLF001  (the only common base)
        if 1 < layer.groups == layer.out_channels:
            return function.prune_depthwise_conv_out_channels
        return function.prune_conv_out_channels if is_out else function.prune_conv_in_channels
    if isinstance(layer, nn.Linear):
        return function.prune_linear_out_channels if is_out else function.prune_linear_in_channels
    norms = {
        nn.modules.batchnorm._BatchNorm: function.prune_batchnorm_out_channels,  # noqa: SLF001
        nn.LayerNorm: function.prune_layernorm_out_channels,
        nn.GroupNorm: function.prune_groupnorm_out_channels,
    }
    return next((own for kind, own in norms.items() if isinstance(layer, kind)), None)
