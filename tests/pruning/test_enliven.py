"""Values that hide nothing: all channels differ, no layer fades, norms see what they are given."""

import pytest
import torch
from torch import Tensor, nn

from squeeze.models.copying import copied
from squeeze.pruning import enliven


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.GroupNorm(2, 4)
    ).eval()


def test_dead_equal_and_zero_weights_become_different_ones() -> None:
    module = net()
    with torch.no_grad():
        module[0].weight[::2] = 0
        module[3].weight.fill_(0.1)
        module[1].weight.zero_()
    enliven.redraw_(module)
    for name, parameter in module.named_parameters():
        assert len(parameter.unique()) == parameter.numel(), name
        assert float(parameter.detach().abs().max()) > 0.05, name


def test_large_weights_stay_where_all_channels_are_alive() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(600, 600), nn.Linear(600, 600), nn.Linear(600, 600))
    with torch.no_grad():
        module[1].weight[:, 5] = 0
        module[2].weight.fill_(1)
    before = [layer.weight for layer in module]
    enliven.redraw_(module)
    assert [torch.equal(a, b.weight) for a, b in zip(before, module, strict=True)] == [
        True,
        False,
        False,
    ]


def test_what_shares_weights_is_not_written_and_tied_weights_stay_tied() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[1].weight = module[0].weight
    before = module[0].weight.clone()
    copy = copied(module, share_weights=True)
    assert copy[0].weight.data_ptr() == module[0].weight.data_ptr()
    enliven.redraw_(copy)
    assert torch.equal(module[0].weight, before)
    assert copy[0].weight is copy[1].weight


def test_every_layer_gives_about_one_and_norms_see_what_they_are_given() -> None:
    module = net()
    with torch.no_grad():
        module[0].weight.mul_(1e-4)
    images = torch.randn(4, 3, 8, 8)
    enliven.calibrate_(module, images)
    seen: dict[nn.Module, Tensor] = {}
    for layer in (module[0], module[3]):
        layer.register_forward_hook(lambda layer, _, output: seen.update({layer: output}))
    with torch.no_grad():
        module(images)
    for output in seen.values():
        assert float(output.pow(2).mean().sqrt()) == pytest.approx(1, rel=1e-4)
    norm = module[1]
    torch.testing.assert_close(norm.running_mean, seen[module[0]].mean((0, 2, 3)))
    torch.testing.assert_close(norm.running_var, seen[module[0]].var((0, 2, 3), correction=0))
    assert not any(part._forward_pre_hooks for part in module.modules())


def test_a_map_of_one_value_has_no_variance() -> None:
    module = nn.Sequential(nn.BatchNorm2d(3)).eval()
    enliven.calibrate_(module, torch.ones(1, 3, 1, 1))
    assert module[0].running_var.tolist() == [1, 1, 1]
