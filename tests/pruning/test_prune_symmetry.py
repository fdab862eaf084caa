"""A group that is found right can be permuted: the order of its channels means nothing.

All units of all groups change places at random, on every side of every layer that a survey names.
The outputs stay only if it names all sides and the right channel on each, through norms over
channels, attention, merged patches, splits and shuffles.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from squeeze.models.adapters.layers.select import Select
from squeeze.models.blocks import build
from squeeze.models.types import Model
from squeeze.pruning.graph import find_groups
from squeeze.pruning.groups import ChannelGroup
from squeeze.recipe.schema import InputSpec, ModelBlock

Side = tuple[str, bool, int | None]
Moves = dict[Side, dict[int, int]]

MODELS: dict[str, dict[str, Any]] = {
    "torchvision:mobilenet_v3_small": {},
    "torchvision:shufflenet_v2_x0_5": {},
    "timm:deit_tiny_patch16_224": {"img_size": 64, "depth": 2},
    "timm:resnest14d": {"layers": [1, 1, 1, 1]},
    "timm:ghostnet_050": {},
    "builtin:resnet8": {"shortcut": "padded"},
}
SLOW: dict[str, dict[str, Any]] = {
    "torchvision:resnet18": {},
    "torchvision:squeezenet1_1": {},
    "torchvision:densenet121": {},
    "torchvision:convnext_tiny": {},
    "torchvision:vit_b_16": {"image_size": 64},
    "torchvision:swin_t": {},
    "timm:res2net50_26w_4s": {"layers": [1, 2, 1, 1]},
    "timm:fastvit_t8": {},
}


def model_of(name: str, args: dict[str, Any], folder: Path) -> Model:
    torch.manual_seed(0)
    block = ModelBlock(
        build=name, args={"num_classes": 5} | args, input=InputSpec(shape=(3, 64, 64))
    )
    model = build(block, folder)
    with torch.no_grad():  # no two channels alike, and nothing that starts as zero
        for tensor in (*model.module.parameters(), *model.module.buffers()):
            if tensor.is_floating_point() and (tensor.ndim == 1 or tensor.abs().max() < 1e-3):
                tensor.add_(torch.rand_like(tensor) * 0.3)
    return model


@pytest.mark.parametrize(
    ("name", "args"),
    [
        *(pytest.param(name, args, id=name) for name, args in MODELS.items()),
        *(pytest.param(name, SLOW[name], id=name, marks=pytest.mark.slow) for name in SLOW),
    ],
)
def test_units_change_places_without_a_trace(
    name: str, args: dict[str, Any], tmp_path: Path
) -> None:
    found = find_groups(model_of(name, args, tmp_path))
    assert len(found.prunable) == len(found.groups) - 1, "all but the output layer"
    images = torch.randn(2, 3, 64, 64)
    moves = permutation(found.prunable)
    with torch.no_grad():
        before = found.module(images)
        permute_(found.module, moves)
        after = found.module(images)
    assert sum(old != new for side in moves.values() for old, new in side.items()) > 100
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5 * float(before.abs().max()))


def permutation(groups: tuple[ChannelGroup, ...]) -> Moves:
    """Return for every side of a layer where each of its channels goes."""
    moves: Moves = defaultdict(dict)
    for group in groups:
        to = shuffled(group)
        for dependency in group.dependencies:
            owned = by_root(dependency.indices, dependency.roots)
            for root, channels in owned.items():
                places = owned[to[root]]
                moves[dependency.path, dependency.is_out, dependency.dimension].update(
                    zip(channels, places, strict=True)
                )
    return moves


def shuffled(group: ChannelGroup) -> dict[int, int]:
    """Return a new place for every channel; only units that take the same way swap."""
    ways: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    touched = [by_root(dependency.indices, dependency.roots) for dependency in group.dependencies]
    for unit in range(group.units):
        channels = group.of_unit(unit)
        way = tuple(len(owned.get(c, ())) for owned in touched for c in channels)
        ways[way].append(unit)
    to = {}
    for units in ways.values():
        for unit, place in zip(units, torch.randperm(len(units)).tolist(), strict=True):
            to |= dict(zip(group.of_unit(unit), group.of_unit(units[place]), strict=True))
    return to


def by_root(indices: tuple[int, ...], roots: tuple[int, ...]) -> dict[int, list[int]]:
    owned: dict[int, list[int]] = defaultdict(list)
    for index, root in sorted(zip(indices, roots, strict=True)):
        owned[root].append(index)
    return dict(owned)


def permute_(module: nn.Module, moves: Moves) -> None:
    for (path, is_out, dimension), places in moves.items():
        if dimension is not None:
            parameter = module.get_parameter(path)
            order = order_of(places, parameter.shape[dimension])
            parameter.data = parameter.data.index_select(dimension % parameter.ndim, order)
            continue
        layer = module.get_submodule(path)
        if isinstance(layer, Select):
            pick_(layer, places, is_out=is_out)
        elif is_out:
            for name in ("weight", "bias", "running_mean", "running_var"):
                tensor = getattr(layer, name, None)
                if tensor is not None:
                    tensor.data = tensor.data[order_of(places, len(tensor))]
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            width = layer.weight.shape[1]  # of one group; all groups are permuted alike
            order = order_of(places, width * getattr(layer, "groups", 1))
            layer.weight.data = layer.weight.data[:, order[:width]]
        else:
            pytest.fail(f"{path} reads channels and is no layer with weights")


def pick_(layer: Select, places: dict[int, int], *, is_out: bool) -> None:
    source = layer.source
    if is_out:
        layer.source = source[order_of(places, len(source))]
    else:
        layer.source = torch.tensor([places.get(i, i) for i in source.tolist()])
    layer._describe_()


def order_of(places: dict[int, int], width: int) -> torch.Tensor:
    """Return which old channel comes to every new place."""
    order = list(range(width))
    for old, new in places.items():
        order[new] = old
    return torch.tensor(order)
