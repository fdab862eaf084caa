"""Pruning against its meaning: what is left computes what all compute when the rest is silent."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from squeeze.models.adapters.layers.select import Select
from squeeze.models.copying import copied
from squeeze.models.types import Architecture, Model
from squeeze.pruning.graph import find_groups, remove_
from squeeze.pruning.groups import ChannelCut, PruningGroups, cuts
from squeeze.recipe.schema import InputSpec

Groups = dict[str, tuple[int, int]]


def model_of(module: nn.Module, shape: tuple[int, int, int] = (3, 8, 8)) -> Model:
    """Wrap a module whose numbers hide nothing."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            if part.running_mean is not None and part.running_var is not None:
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2.0)
            if part.affine:
                nn.init.uniform_(part.weight, 0.5, 2.0)
                nn.init.normal_(part.bias)
    return Model(module.eval(), Architecture("test:x", Path(), {}, InputSpec(shape=shape)))


def found_in(
    module: nn.Module, shape: tuple[int, int, int] = (3, 8, 8), **options: Any
) -> PruningGroups:
    """Find a module's groups."""
    return find_groups(model_of(module, shape), **options)


def widths(found: PruningGroups) -> Groups:
    """Return channels and parts of what can be pruned."""
    return {group.name: (group.channels, group.parts) for group in found.prunable}


def reasons(found: PruningGroups) -> dict[str, str]:
    """Return why groups stay, without the outputs."""
    return {
        group.name: group.kept
        for group in found.groups
        if group.kept and group.kept != "makes the model's output"
    }


def removal_is_silence(
    found: PruningGroups, shape: tuple[int, int, int] = (3, 8, 8), seeds: int = 3
) -> None:
    """Remove random units of all groups and compare with the module where they are silent."""
    for seed in range(seeds):
        torch.manual_seed(seed)
        images = torch.randn(2, *shape)
        gone = {
            group.name: group.removable(
                torch.randperm(group.units).tolist(), (group.units + 1) // 2
            )
            for group in found.prunable
            if group.units > 1 and not group.renormed  # those change numbers by nature
        }
        pruned, silent = copied(found.module), copied(found.module)
        remove_(pruned, found.groups, gone)
        for cut in cuts(found.groups, gone):
            silence_(silent, cut)
        with torch.no_grad():
            expected, outputs = silent(images), pruned(images)
        torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)
        left = sum(p.numel() for p in pruned.parameters())
        assert not gone or left < sum(p.numel() for p in found.module.parameters())


def silence_(module: nn.Module, cut: ChannelCut) -> None:
    """Let channels be made as zeros and read with zeros."""
    own = cut.dependency
    index = torch.tensor(cut.indices)
    if own.dimension is not None:
        path, _, leaf = own.path.rpartition(".")
        tensor = getattr(module.get_submodule(path), leaf)
        tensor.data.index_fill_(own.dimension, index, 0)
        return
    layer: Any = module.get_submodule(own.path)
    if isinstance(layer, Select):
        if not own.is_out and not layer.coupled:
            layer.picks = [-1 if i in cut.indices else i for i in layer.picks]
            layer.derive_()
    elif not own.is_out:
        silence_inputs_(layer, index)
    else:
        weight = layer.weight.data
        by_row = not transposed(layer) or weight.shape[1] == 1
        made = weight if by_row else weight.transpose(0, 1)
        made[index % len(made)] = 0  # a transposed one's groups share the dimension
        if layer.bias is not None:
            layer.bias.data[index] = 0


def transposed(layer: Any) -> bool:
    return bool(getattr(layer, "transposed", False))


def silence_inputs_(layer: Any, index: Tensor) -> None:
    groups = getattr(layer, "groups", 1)
    if transposed(layer):
        layer.weight.data[index] = 0
        return
    width, rows = layer.weight.shape[1], layer.weight.shape[0] // groups
    for one in index.tolist():
        layer.weight.data[one // width * rows : (one // width + 1) * rows, one % width] = 0
