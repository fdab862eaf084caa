"""Layers whose weight is computed are refused by name, with what to do about it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from squeeze.models.types import Model
from squeeze.pruning import graph

Wrap = Callable[..., Model]


def masked(layer: nn.Module) -> nn.Module:
    prune.l1_unstructured(layer, "weight", 0.5)
    return layer


PARAMETRIZE = "torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')"
KINDS: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "weight norm": (parametrizations.weight_norm, "ParametrizedConv2d", PARAMETRIZE),
    "spectral norm": (parametrizations.spectral_norm, "ParametrizedConv2d", PARAMETRIZE),
    "old spectral norm": (
        nn.utils.spectral_norm,
        "Conv2d",
        "torch.nn.utils.remove_spectral_norm(layer)",
    ),
    "old weight norm": (nn.utils.weight_norm, "Conv2d", "torch.nn.utils.remove_weight_norm(layer)"),
    "mask": (masked, "Conv2d", "torch.nn.utils.prune.remove(layer, 'weight')"),
}


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("name", list(KINDS))
def test_computed_weights_are_refused_with_what_to_do(name: str, wrapped: Wrap) -> None:
    torch.manual_seed(0)
    norm, kind, remedy = KINDS[name]
    layers = nn.Sequential(
        norm(nn.Conv2d(3, 8, 3)), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.Conv2d(6, 2, 1)
    )
    found = graph.find_groups(wrapped(layers))
    assert {group.name: group.kept for group in found.groups} == {
        "0": f"the weight of 0 ({kind}) is computed from others: call {remedy} before pruning",
        "2": None,
        "4": graph.OUTPUT,
    }


def test_a_layer_without_a_weight_of_its_own_is_no_such_layer(wrapped: Wrap) -> None:
    layers = (nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
    assert graph.find_groups(wrapped(nn.Sequential(*layers))).groups[0].kept is None
