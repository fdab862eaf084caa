"""Adapters: same outputs, dead channels go without a trace, and a fresh model adapts the same."""

import copy
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch_pruning import DependencyGraph
from torchvision import models
from torchvision.models.maxvit import RelativePositionalMultiHeadAttention
from torchvision.models.shufflenetv2 import ShuffleNetV2
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer

from squeeze.core.errors import InputError
from squeeze.models import adapters
from squeeze.models.adapters.layers.attention import Attention, Heads, PositionBias
from squeeze.models.adapters.layers.select import Select
from squeeze.models.cifar_resnet import resnet8

Build = Callable[[], nn.Module]


def shufflenet() -> nn.Module:
    return ShuffleNetV2([2, 2, 1], [8, 16, 32, 64, 64], num_classes=5)


def vit() -> nn.Module:
    return VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=5)


def swin() -> nn.Module:
    return SwinTransformer([2, 2], 16, [2, 2], [2, 4], [3, 3], num_classes=5)


def swin_v2_merging() -> nn.Module:
    return nn.Sequential(PatchMergingV2(8))


def maxvit_attention() -> nn.Module:
    return nn.Sequential(RelativePositionalMultiHeadAttention(16, 4, 9))


def deit() -> nn.Module:
    return timm.create_model(
        "deit_tiny_patch16_224", img_size=32, embed_dim=32, num_heads=4, depth=2, num_classes=5
    )


def fastvit() -> nn.Module:
    return timm.create_model(
        "fastvit_sa12", layers=(1, 1, 1, 1), embed_dims=(32, 32, 64, 64), num_classes=5
    )


def res2net() -> nn.Module:
    return timm.create_model("res2net50_26w_4s", layers=(1, 2, 1, 1), num_classes=5)


def resnest() -> nn.Module:
    """Radix 2; the other kind of parts, cardinality, is in the next."""
    return timm.create_model("resnest14d", layers=(1, 1, 1, 1), num_classes=5)


def resnest_cardinality() -> nn.Module:
    return timm.create_model("resnest50d_4s2x40d", layers=(1, 1, 1, 1), num_classes=5)


MODELS: dict[str, tuple[Build, tuple[int, ...], tuple[str, ...]]] = {
    "shufflenet": (shufflenet, (2, 3, 64, 64), ("torchvision_shufflenet",)),
    "vit": (vit, (2, 3, 32, 32), ("torchvision_vit",)),
    # 52 px: maps of 13 and 7 tokens, padded to whole windows of 3, merged from an odd side
    "swin": (swin, (2, 3, 52, 52), ("torchvision_swin",)),
    "swin_v2_merging": (swin_v2_merging, (2, 5, 6, 8), ("torchvision_swin",)),
    "maxvit_attention": (maxvit_attention, (2, 4, 9, 16), ("torchvision_maxvit",)),
    "deit": (deit, (2, 3, 32, 32), ("timm_attention",)),
    "fastvit": (fastvit, (2, 3, 64, 64), ("depthwise_multiplier", "timm_attention")),
    "res2net": (res2net, (2, 3, 32, 32), ("timm_res2net",)),
    "resnest": (resnest, (2, 3, 64, 64), ("timm_split_attention",)),
    "resnest_cardinality": (resnest_cardinality, (2, 3, 64, 64), ("timm_split_attention",)),
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
    with pytest.raises(InputError, match="torchvision_swin"):
        adapters.apply_(nn.Identity(), ["torchvision_swim"])


def test_models_that_need_no_adapter_are_left_alone() -> None:
    for module in (models.resnet18(), resnet8(), nn.Conv2d(4, 4, 3, groups=4)):
        before = [id(part) for part in module.modules()]
        assert adapters.adapt_(module) == ()
        assert [id(part) for part in module.modules()] == before


def graph_of(module: nn.Module, images: torch.Tensor) -> Any:
    module.requires_grad_(requires_grad=True)
    graph = DependencyGraph().build_dependency(
        module, images, customized_pruners=adapters.pruners(), verbose=False
    )
    adapters.connect_(graph)
    return graph


def prune_(graph: Any, layer: nn.Module, channels: list[int]) -> None:
    graph.get_pruning_group(
        layer, graph.get_pruner_of_module(layer).prune_out_channels, channels
    ).prune()


def normed(module: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Yield convolutions that a batch norm follows directly."""
    parts = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    for first, second in pairwise(parts):
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            yield first, second


def kill_(graph: Any, layer: nn.Module, channels: list[int]) -> None:
    """Let everything that goes with these channels of a layer be zero."""
    group = graph.get_pruning_group(
        layer, graph.get_pruner_of_module(layer).prune_out_channels, channels
    )
    with torch.no_grad():
        for item in group:
            target = item.dep.target.module
            if not isinstance(target, nn.Module) or not hasattr(target, "weight"):
                continue
            if graph.is_out_channel_pruning_fn(item.dep.handler):
                target.weight[list(item.idxs)] = 0
                if target.bias is not None:
                    target.bias[list(item.idxs)] = 0


@pytest.mark.parametrize("name", ["shufflenet", "res2net", "resnest"])
def test_channels_that_are_zero_go_without_a_trace(name: str) -> None:
    """Whatever way a dead channel takes through shuffles and slices, outputs do not change."""
    build, shape, _ = MODELS[name]
    module = random_(build())
    adapters.adapt_(module)
    images = torch.randn(shape)
    layers = [conv for conv, _ in normed(module)]
    for layer in layers[:: max(1, len(layers) // 6)]:
        pruned = copy.deepcopy(module)
        position = list(module.modules()).index(layer)
        own = list(pruned.modules())[position]
        half = own.out_channels // 2  # a convolution of two groups loses as many of each
        gone = [0, 3, half, half + 3]
        graph = graph_of(pruned, images)
        kill_(graph, own, gone)
        with torch.no_grad():
            before = pruned(images)
        prune_(graph, own, gone)
        with torch.no_grad():
            after = pruned(images)
        scale = 1e-5 * float(before.abs().max())
        torch.testing.assert_close(after, before, rtol=1e-5, atol=scale)


def test_dead_channels_of_heads_go_without_a_trace() -> None:
    for name in ("vit", "swin", "deit", "maxvit_attention"):
        build, shape, _ = MODELS[name]
        module = random_(build())
        adapters.adapt_(module)
        images = torch.randn(shape)
        own = next(part for part in module.modules() if isinstance(part, Attention))
        count, size = own.heads.count, own.heads.size
        gone = [head * size + channel for head in range(count) for channel in (0, 2)]
        graph = graph_of(module, images)
        kill_(graph, own.q, gone)
        with torch.no_grad():
            before = module(images)
        prune_(graph, own.q, gone)
        assert (own.heads.count, own.heads.size) == (count, size - 2)
        assert own.v.out_features == own.out.in_features == count * (size - 2)
        with torch.no_grad():
            torch.testing.assert_close(module(images), before, rtol=1e-4, atol=1e-4)


def test_whole_heads_go_with_their_column_of_position_biases() -> None:
    module = random_(swin())
    adapters.adapt_(module)
    images = torch.randn(2, 3, 52, 52)
    own = next(part for part in module.modules() if isinstance(part, Attention))
    assert adapters.blocks(module)[own.q] == adapters.Blocks(2, 8, heads=True)
    assert own.bias is not None
    column = own.bias.table[:, 1:].clone()
    graph = graph_of(module, images)
    kill_(graph, own.q, list(range(8)))
    with torch.no_grad():
        before = module(images)
    prune_(graph, own.q, list(range(8)))
    assert (own.heads.count, own.heads.size) == (1, 8)
    assert torch.equal(own.bias.table, column)
    with torch.no_grad():
        torch.testing.assert_close(module(images), before, rtol=1e-4, atol=1e-4)


def test_heads_of_different_widths_are_refused() -> None:
    heads = Heads(2, 4)
    with pytest.raises(ValueError, match="equally many"):
        adapters.pruners()[Heads].prune_out_channels(heads, [0, 1, 4])


def test_position_biases_are_those_of_torchvision() -> None:
    layer = random_(RelativePositionalMultiHeadAttention(16, 4, 9))
    bias = PositionBias(layer.relative_position_bias_table, layer.relative_position_index, 4)
    assert torch.equal(bias(), layer.get_relative_positional_bias()[0])


def test_the_token_width_of_a_vision_transformer_follows_its_patches() -> None:
    module = random_(vit())
    adapters.adapt_(module)
    images = torch.randn(2, 3, 32, 32)
    graph = graph_of(module, images)
    prune_(graph, module.conv_proj, [1, 2, 30])
    adapters.resize_(module)
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


def test_a_repeated_channel_goes_with_all_its_copies() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 8, 3, groups=4), nn.Conv2d(8, 2, 1))
    adapters.adapt_(module)
    graph = graph_of(module, torch.randn(1, 3, 8, 8))
    prune_(graph, module[1][1], [5])
    assert module[0].out_channels == 3
    assert module[1][1].weight.shape == (6, 1, 3, 3)
    assert module[2].in_channels == 6
    assert module(torch.randn(2, 3, 8, 8)).shape == (2, 2, 6, 6)
