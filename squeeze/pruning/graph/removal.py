"""Remove channels from a module: every tensor that holds them, and the widths beside it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from squeeze.models.copying import copied
from squeeze.models.types import PruningRound
from squeeze.pruning.graph import sizes
from squeeze.pruning.graph.layers import is_depthwise
from squeeze.pruning.groups import ChannelGroup, Dependency, PruningGroups, cuts

if TYPE_CHECKING:
    from torch import Tensor, nn

    from squeeze.models.types import Model

_WIDTHS = """in_channels out_channels in_features out_features num_features num_channels
    num_parameters channels embedding_dim input_size embed_dim kdim vdim"""
"""What layers call the number of their channels."""


def remove_(
    module: "nn.Module",
    groups: Iterable[ChannelGroup],
    gone: Mapping[str, Collection[int]],
) -> None:
    """Remove units of groups from a module of the surveyed structure, in place.

    All indices are those of the survey: every layer is cut once, whatever groups it belongs to.

    Args:
        module: The surveyed module or a copy of it.
        groups: Those of the survey.
        gone: Group name to the units that go.
    """
    from torch import nn

    groups, tensors = tuple(groups), _HeldParameters(module)
    # before anything is cut: a grouped convolution may be left with one input per group
    single = {path for path, part in module.named_modules() if _is_single(part)}
    for cut in cuts(groups, gone):
        own = cut.dependency
        layer = module.get_submodule(own.path) if own.dimension is None else None
        if isinstance(layer, nn.modules.conv._ConvNd):  # noqa: SLF001  (the only common base)
            both = own.path in single
            _cut_convolution_(tensors, layer, cut.indices, is_out=own.is_out, both=both)
        else:
            _cut_(module, tensors, own, cut.indices)
    sizes.put_(module, groups, gone)


def narrowed(model: "Model", found: PruningGroups, kept: Mapping[str, int]) -> "Model":
    """Return the model at other widths, whatever channels go: for measuring costs.

    Args:
        model: The surveyed model.
        found: Its groups.
        kept: Group name to the units that stay; all where it is missing.
    """
    gone = {
        group.name: group.removable(reversed(range(group.units)), group.units - kept[group.name])
        for group in found.prunable
        if kept.get(group.name, group.units) < group.units
    }
    module = copied(found.module)
    remove_(module, found.groups, gone)
    return model.pruned(module, PruningRound(importance="none", removed={}), found.adapters)


class _HeldParameters:
    """The parameters of a module, each with all modules that hold it.

    Args:
        module: Shortening replaces its parameters.
    """

    def __init__(self, module: "nn.Module") -> None:
        self._holders: dict[nn.Parameter, list[tuple[nn.Module, str]]] = {}
        for part in module.modules():
            for name, own in part.named_parameters(recurse=False, remove_duplicate=False):
                self._holders.setdefault(own, []).append((part, name))

    def shorten_(self, owner: Any, name: str, dim: int, indices: Sequence[int]) -> None:  # noqa: ANN401
        """Drop slices of a parameter or buffer, wherever else the module holds the same one."""
        import torch
        from torch import nn

        tensor: Tensor | None = getattr(owner, name)
        if tensor is None:
            return
        gone = set(indices)
        kept = [index for index in range(tensor.shape[dim]) if index not in gone]
        left = tensor.detach().index_select(dim, torch.tensor(kept, device=tensor.device))
        if not isinstance(tensor, nn.Parameter):
            setattr(owner, name, left)
            return
        new = nn.Parameter(left, requires_grad=tensor.requires_grad)
        self._holders[new] = self._holders.pop(tensor)
        for part, leaf in self._holders[new]:
            setattr(part, leaf, new)


def _is_single(part: "nn.Module") -> bool:
    from torch import nn

    return isinstance(part, nn.modules.conv._ConvNd) and is_depthwise(part)  # noqa: SLF001


def _cut_(
    root: "nn.Module", tensors: _HeldParameters, dependency: Dependency, indices: Sequence[int]
) -> None:
    from torch import nn

    if dependency.dimension is not None:
        path, _, leaf = dependency.path.rpartition(".")
        owner = root.get_submodule(path)
        before = getattr(owner, leaf).shape[dependency.dimension]
        tensors.shorten_(owner, leaf, dependency.dimension, indices)
        after = getattr(owner, leaf).shape[dependency.dimension]
        for name in _WIDTHS.split():
            if getattr(owner, name, None) == before:
                setattr(owner, name, after)
        return
    layer: Any = root.get_submodule(dependency.path)
    if hasattr(layer, "remove_outputs_"):
        (layer.remove_outputs_ if dependency.is_out else layer.remove_inputs_)(indices)
    elif isinstance(layer, nn.Linear):
        tensors.shorten_(layer, "weight", 0 if dependency.is_out else 1, indices)
        if dependency.is_out:
            tensors.shorten_(layer, "bias", 0, indices)
        layer.out_features, layer.in_features = layer.weight.shape
    else:
        _cut_norm_(tensors, layer, indices)


def _cut_convolution_(
    tensors: _HeldParameters,
    layer: Any,  # noqa: ANN401
    indices: Sequence[int],
    *,
    is_out: bool,
    both: bool,
) -> None:
    times = layer.out_channels // layer.in_channels if both else 1
    dim = (0 if is_out else 1) if not layer.transposed else (1 if is_out else 0)
    dim = 0 if both else dim
    width = layer.weight.shape[dim]  # of all groups, or of one whose places all others share
    tensors.shorten_(layer, "weight", dim, sorted({index % width for index in indices}))
    if is_out:
        tensors.shorten_(layer, "bias", 0, indices)
        layer.out_channels -= len(indices)
    if both or not is_out:
        layer.in_channels -= len(indices) // times
    if both:
        layer.groups = layer.in_channels


def _cut_norm_(tensors: _HeldParameters, layer: Any, indices: Sequence[int]) -> None:  # noqa: ANN401
    for name in ("weight", "bias", "running_mean", "running_var"):
        if getattr(layer, name, None) is not None:
            tensors.shorten_(layer, name, 0, indices)
    for name in ("num_features", "num_channels"):
        if hasattr(layer, name):
            setattr(layer, name, getattr(layer, name) - len(indices))
    shape = getattr(layer, "normalized_shape", None)
    if shape is not None:
        layer.normalized_shape = (*shape[:-1], shape[-1] - len(indices))
