"""Adapters: same outputs, dead channels go without a trace, and a fresh model adapts the same."""

import copy
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models.shufflenetv2 import ShuffleNetV2
from torchvision.models.vision_transformer import VisionTransformer

from squeeze.core.errors import InputError
from squeeze.models import adapters
from squeeze.models.adapters.layers.select import Select
from squeeze.models.adapters.torchvision_vit import EncoderAttention
from squeeze.models.cifar_resnet import resnet8
from squeeze.models.types import Architecture, Model
from squeeze.pruning.graph import find_groups, remove_
from squeeze.pruning.groups import PruningGroups, cuts
from squeeze.recipe.schema import InputSpec

Build = Callable[[], nn.Module]


def shufflenet() -> nn.Module:
    return ShuffleNetV2([2, 2, 1], [8, 16, 32, 64, 64], num_classes=5)


def vit() -> nn.Module:
    return VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=5)


MODELS: dict[str, tuple[Build, tuple[int, ...], tuple[str, ...]]] = {
    "shufflenet": (shufflenet, (2, 3, 64, 64), ("torchvision_shufflenet",)),
    "vit": (vit, (2, 3, 32, 32), ("torchvision_vit",)),
}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def random_(module: nn.Module) -> nn.Module:
    """Give every tensor values that show: some heads and biases start as zeros."""
    with torch.no_grad():
        for part in module.modules():
            for tensor in (*part.parameters(recurse=False), *part.buffers(recurse=False)):
                if tensor.is_floating_point():
                    tensor.copy_(
                        torch.rand_like(tensor) - 0.4
                        if tensor.ndim > 1
                        else torch.rand_like(tensor) + 0.5
                    )
                    if tensor.ndim > 1:
                        tensor.mul_(3 / max(tensor[0].numel(), 1) ** 0.5)
    return module.eval()


@pytest.mark.parametrize("name", MODELS)
def test_outputs_stay_the_same(name: str) -> None:
    build, shape, expected = MODELS[name]
    module = random_(build())
    images = torch.randn(shape)
    with torch.no_grad():
        before = module(images)
        assert adapters.adapt_(module) == expected
        after = module(images)
    assert before.std() > 0
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5 * float(before.abs().max()))
    assert adapters.adapt_(module) == ()


@pytest.mark.parametrize("name", MODELS)
def test_a_fresh_model_takes_the_tensors_of_an_adapted_one(name: str) -> None:
    build, shape, _ = MODELS[name]
    module = random_(build())
    names = adapters.adapt_(module)
    fresh = build().eval()
    adapters.apply_(fresh, names)
    fresh.load_state_dict(module.state_dict())
    images = torch.randn(shape)
    with torch.no_grad():
        assert torch.equal(fresh(images), module(images))


@pytest.mark.parametrize("name", MODELS)
def test_training_mode_and_gradients_carry_over(name: str) -> None:
    build, shape, _ = MODELS[name]
    module = build().train()
    adapters.adapt_(module)
    assert all(part.training for part in module.modules())
    module(torch.randn(shape)).sum().backward()
    assert all(p.grad is not None for p in module.parameters() if p.requires_grad)


def test_frozen_weights_stay_frozen() -> None:
    module = vit()
    for parameter in module.encoder.parameters():
        parameter.requires_grad = False
    adapters.adapt_(module)
    assert not any(p.requires_grad for p in module.encoder.parameters())
    assert module.conv_proj.weight.requires_grad


def test_an_unknown_adapter_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="torchvision_vit"):
        adapters.apply_(nn.Identity(), ["torchvision_vid"])


def test_models_that_need_no_adapter_are_left_alone() -> None:
    for module in (models.resnet18(), resnet8(), nn.Conv2d(4, 4, 3, groups=4)):
        before = [id(part) for part in module.modules()]
        assert adapters.adapt_(module) == ()
        assert [id(part) for part in module.modules()] == before


def survey(module: nn.Module, images: torch.Tensor, *, whole_heads: bool = False) -> PruningGroups:
    shape = tuple(images.shape[1:])
    spec = InputSpec(shape=shape)  # type: ignore[arg-type]
    model = Model(module, Architecture("test:x", Path(), {}, spec))
    return find_groups(model, whole_heads=whole_heads)


def with_(found: PruningGroups, path: str, channels: list[int]) -> dict[str, set[int]]:
    """Return the units that a layer's output channels are part of."""
    gone: dict[str, set[int]] = {}
    for group in found.groups:
        for own in group.dependencies:
            if own.path == path and own.is_out:
                pairs = zip(own.indices, own.roots, strict=True)
                roots = {root for index, root in pairs if index in channels}
                units = {unit for unit in range(group.units) if roots & set(group.of_unit(unit))}
                gone[group.name] = units
    return gone


def normed(module: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Yield convolutions that a batch norm follows directly."""
    parts = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    for first, second in pairwise(parts):
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            yield first, second


def kill_(module: nn.Module, found: PruningGroups, gone: dict[str, set[int]]) -> None:
    """Let everything that goes be made as zeros."""
    with torch.no_grad():
        for cut in cuts(found.groups, gone):
            if cut.dependency.dimension is not None:
                continue
            layer: Any = module.get_submodule(cut.dependency.path)
            if cut.dependency.is_out and hasattr(layer, "weight"):
                layer.weight[list(cut.indices)] = 0
                if layer.bias is not None:
                    layer.bias[list(cut.indices)] = 0


def test_channels_that_are_zero_go_without_a_trace() -> None:
    """Whatever way a dead channel takes through shuffles and slices, outputs do not change."""
    build, shape, _ = MODELS["shufflenet"]
    module = random_(build())
    adapters.adapt_(module)
    images = torch.randn(shape)
    layers = [conv for conv, _ in normed(module)]
    for layer in layers[:: max(1, len(layers) // 6)]:
        pruned = copy.deepcopy(module)
        position = list(module.modules()).index(layer)
        own = list(pruned.modules())[position]
        half = own.out_channels // 2  # a convolution of two groups loses as many of each
        path = next(name for name, part in pruned.named_modules() if part is own)
        found = survey(pruned, images)
        gone = with_(found, path, [0, 3, half, half + 3])
        kill_(pruned, found, gone)
        with torch.no_grad():
            before = pruned(images)
        remove_(pruned, found.groups, gone)
        with torch.no_grad():
            after = pruned(images)
        scale = 1e-5 * float(before.abs().max())
        torch.testing.assert_close(after, before, rtol=1e-5, atol=scale)


def test_dead_channels_of_heads_go_without_a_trace() -> None:
    build, shape, _ = MODELS["vit"]
    module = random_(build())
    adapters.adapt_(module)
    images = torch.randn(shape)
    path, own = next(
        (path, part) for path, part in module.named_modules() if isinstance(part, EncoderAttention)
    )
    found = survey(module, images)
    gone = with_(found, f"{path}.q", [0, 2])
    kill_(module, found, gone)
    with torch.no_grad():
        before = module(images)
    remove_(module, found.groups, gone)
    assert own.q.out_features == own.k.out_features == own.heads * (own.size - 2)
    with torch.no_grad():
        torch.testing.assert_close(module(images), before, rtol=1e-4, atol=1e-4)


def test_the_token_width_of_a_vision_transformer_follows_its_patches() -> None:
    module = random_(vit())
    adapters.adapt_(module)
    images = torch.randn(2, 3, 32, 32)
    found = survey(module, images)
    remove_(module, found.groups, with_(found, "conv_proj", [1, 2, 30]))
    assert module(images).shape == (2, 5)


def test_a_pick_gathers_and_pads() -> None:
    x = torch.randn(2, 4, 3, 3)
    for source in ([2, 0, 3], [1, 2, 3], [0, 0, 1, 1], [-1, 3, -1, 1]):
        expected = torch.stack(
            [x[:, i] if i >= 0 else torch.zeros_like(x[:, 0]) for i in source], dim=1
        )
        assert torch.equal(Select(source, 4)(x), expected)


def test_what_a_pick_reads_is_renumbered_whichever_side_is_cut_first() -> None:
    for inputs_first in (True, False):
        pick = Select([3, 1, 0, 2], 4)
        steps = [lambda p: p.remove_inputs_([1]), lambda p: p.remove_outputs_([1])]
        for step in steps if inputs_first else steps[::-1]:
            step(pick)
        assert (pick.source.tolist(), pick.width, pick.padded) == ([2, 0, 1], 3, False)
