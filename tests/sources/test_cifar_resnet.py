"""The thin ResNets: parameters as in the paper, shortcuts without any, streams on their own."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch_pruning import DependencyGraph

from squeeze.core.errors import InputError
from squeeze.recipe.schema import InputSpec, ModelBlock
from squeeze.sources import adapters, cifar_resnet
from squeeze.sources.models import build


def test_padded_shortcuts_have_the_parameters_of_the_paper() -> None:
    """Table 6 of the paper: 0.27 million for 20 layers, 0.85 million for 56."""
    for factory, millions in ((cifar_resnet.resnet20, 0.27), (cifar_resnet.resnet56, 0.85)):
        module = factory(shortcut="padded")
        count = sum(p.numel() for p in module.parameters())
        assert round(count / 1e6, 2) == millions


def test_a_padded_shortcut_subsamples_and_appends_zeros() -> None:
    x = torch.randn(2, 3, 5, 4)
    out = cifar_resnet.PaddedShortcut(3, 7, 2)(x)
    assert torch.equal(out[:, :3], x[:, :, ::2, ::2])
    assert torch.equal(out[:, 3:], torch.zeros(2, 4, 3, 2))


def test_an_unknown_shortcut_is_refused(tmp_path: Path) -> None:
    block = ModelBlock(
        build="builtin:resnet8", args={"shortcut": "none"}, input=InputSpec(shape=(3, 8, 8))
    )
    with pytest.raises(InputError, match="allowed: projection, padded"):
        build(block, tmp_path)


def test_the_streams_on_both_sides_of_a_padded_shortcut_prune_alone() -> None:
    torch.manual_seed(0)
    module = cifar_resnet.resnet8(shortcut="padded").eval()
    images = torch.randn(2, 3, 16, 16)
    graph = DependencyGraph().build_dependency(
        module, images, customized_pruners=adapters.pruners(), verbose=False
    )
    adapters.connect_(graph)

    def prune_(layer: nn.Module, channels: list[int]) -> None:
        remove = graph.get_pruner_of_module(layer).prune_out_channels
        graph.get_pruning_group(layer, remove, channels).prune()

    first, second, third = module.stages
    prune_(first[0].conv2, [0, 5])
    widths = [stage[0].conv2.out_channels for stage in (first, second, third)]
    assert widths == [14, 32, 64]
    assert second[0].shortcut.pad.source.tolist() == [
        -1, 0, 1, 2, 3, -1, *range(4, 14), *[-1] * 16
    ]  # fmt: skip
    prune_(second[0].conv2, [0, 1, 31])
    widths = [stage[0].conv2.out_channels for stage in (first, second, third)]
    assert widths == [14, 29, 64]
    assert second[0].shortcut.pad.source.tolist() == [1, 2, 3, -1, *range(4, 14), *[-1] * 15]
    assert module(images).shape == (2, 10)
