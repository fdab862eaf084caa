"""Silent channels are made as zeros and read with zeros, in every kind of layer."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from squeeze.models.adapters.layers.select import Select
from squeeze.pruning.groups import ChannelCut, Dependency
from squeeze.pruning.silence import layers_of_the_rest, silence_


def cut(
    path: str, indices: Sequence[int], *, is_out: bool, dimension: int | None = None
) -> ChannelCut:
    own = tuple(indices)
    return ChannelCut(Dependency(path, "Layer", is_out, own, own, dimension), own)


MAKERS = {
    "convolution": (nn.Conv2d(6, 8, 3, padding=1), 6, [0, 3, 7]),
    "grouped": (nn.Conv2d(6, 8, 3, padding=1, groups=2), 6, [1, 4, 5]),
    "depthwise": (nn.Conv2d(8, 8, 3, padding=1, groups=8), 8, [0, 5]),
    "transposed": (nn.ConvTranspose2d(6, 8, 2, 2), 6, [2, 6]),
    "grouped and transposed": (nn.ConvTranspose2d(6, 8, 2, 2, groups=2), 6, [0, 4, 7]),
    "batch norm": (nn.BatchNorm2d(8), 8, [1, 2]),
}


@pytest.mark.parametrize("name", list(MAKERS))
def test_what_makes_a_silent_channel_makes_zeros_and_the_rest_as_before(name: str) -> None:
    torch.manual_seed(0)
    layer, width, silent = MAKERS[name]
    module = nn.Sequential(layer).eval()
    images = torch.randn(2, width, 4, 4)
    with torch.no_grad():
        before = module(images)
        silence_(module, [cut("0", silent, is_out=True)], {})
        after = module(images)
    rest = [channel for channel in range(8) if channel not in silent]
    assert float(after[:, silent].abs().max()) == 0
    torch.testing.assert_close(after[:, rest], before[:, rest])


READERS = {
    "convolution": (nn.Conv2d(8, 6, 3), [0, 3, 7]),
    "grouped": (nn.Conv2d(8, 6, 3, groups=2), [1, 4, 5]),
    "transposed": (nn.ConvTranspose2d(8, 6, 2, 2), [2, 6]),
    "grouped and transposed": (nn.ConvTranspose2d(8, 6, 2, 2, groups=2), [0, 4, 7]),
    "select": (Select([0, 7, -1, 3], 8, coupled=False), [3, 7]),
}


@pytest.mark.parametrize("name", list(READERS))
def test_what_reads_a_silent_channel_gives_what_it_gives_for_zeros(name: str) -> None:
    torch.manual_seed(0)
    layer, silent = READERS[name]
    module = nn.Sequential(layer)
    images = torch.randn(2, 8, 4, 4)
    zeroed = images.clone()
    zeroed[:, silent] = 0
    with torch.no_grad():
        expected = module(zeroed)
        silence_(module, [cut("0", silent, is_out=False)], {})
        torch.testing.assert_close(module(images), expected)


def test_a_linear_layer_and_a_bare_parameter() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gamma = nn.Parameter(torch.ones(4, 1))
            self.fc = nn.Linear(4, 3)

    module = Scaled()
    weights = module.fc.weight.detach().clone()
    cuts = [cut("gamma", [1], is_out=True, dimension=0), cut("fc", [1, 2], is_out=False)]
    silence_(module, cuts, {})
    assert module.gamma.flatten().tolist() == [1, 0, 1, 1]
    weights[:, [1, 2]] = 0
    assert torch.equal(module.fc.weight, weights)


@pytest.mark.parametrize("axis", [1, 2])
def test_a_norm_leaves_silent_channels_out(axis: int) -> None:
    torch.manual_seed(0)
    module, narrow = nn.Sequential(nn.LayerNorm(6)), nn.Sequential(nn.LayerNorm(4))
    kept, x = [0, 2, 3, 5], torch.randn(2, 3, 6)
    removed = cut("0", [1, 4], is_out=True)
    if axis == 1:  # a norm that turns its input round, as some of images do
        for part in (module[0], narrow[0]):
            turned = part.forward
            part.forward = lambda x, f=turned: f(x.transpose(1, 2)).transpose(1, 2)
        x = x.transpose(1, 2)
    rests = layers_of_the_rest(narrow, module, [removed])
    expected = narrow(x.index_select(axis, torch.tensor(kept)))
    silence_(module, [removed], rests)
    found = module(x).detach()
    torch.testing.assert_close(found.index_select(axis, torch.tensor(kept)), expected)
    assert float(found.index_select(axis, torch.tensor([1, 4])).abs().max()) == 0


class Standardised(nn.Conv2d):
    """A convolution whose filters have no mean over what they read."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, weight, self.bias)


def test_a_layer_that_standardises_its_weights_leaves_silent_channels_out() -> None:
    torch.manual_seed(0)
    module, narrow = nn.Sequential(Standardised(6, 5, 1)), nn.Sequential(Standardised(4, 3, 1))
    kept, made = torch.tensor([0, 2, 3, 5]), torch.tensor([0, 1, 4])
    wide: Any = module[0]
    narrow[0].load_state_dict({"weight": wide.weight[made][:, kept], "bias": wide.bias[made]})
    removed = [cut("0", [1, 4], is_out=False), cut("0", [2, 3], is_out=True)]
    x = torch.randn(2, 6, 4, 4)
    expected = narrow(x[:, kept])
    silence_(module, removed, layers_of_the_rest(narrow, module, removed))
    found = module(x).detach()
    torch.testing.assert_close(found[:, made], expected)
    assert float(found[:, [2, 3]].abs().max()) == 0
