"""A pattern of layers means the same wherever a recipe takes one."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from squeeze.core import patterns
from squeeze.core.errors import InputError
from squeeze.distillation import pairing
from squeeze.models.types import Architecture, Model
from squeeze.pruning import graph
from squeeze.pruning.step import prune
from squeeze.quantization.keep_float import layers
from squeeze.recipe.schema import InputSpec, LayerPatterns, PruneStep
from squeeze.training import parameters

IMAGES = torch.zeros(2, 3, 8, 8)


class Net(nn.Module):
    """Convolutions at two depths, one path that begins like another."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.body = nn.Sequential(nn.Conv2d(8, 8, 1), nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU()))
        self.body2 = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.body2(self.body(self.stem(x).relu())).mean((2, 3)))
        return found


def model() -> Model:
    torch.manual_seed(0)
    spec = InputSpec(shape=(3, 8, 8))
    return Model(Net().eval(), Architecture("net:Net", Path(), {}, spec))


def kept(pattern: str) -> set[str]:
    """Return the layers whose channels ``keep`` of a prune step spares."""
    free = {group.name for group in graph.find_groups(model()).prunable}
    left = {group.name for group in graph.find_groups(model(), keep=[pattern]).prunable}
    return free - left


def cut(pattern: str) -> set[str]:
    """Return the layers that ``ratios`` narrows."""
    done = prune(model(), PruneStep(ratios={pattern: 0.5}, align=1), seed=0)
    narrow = {path for path, part in _made(done.module) if len(part.weight) < 8}  # type: ignore[arg-type]
    return narrow - {"head"}


def frozen(pattern: str) -> set[str]:
    """Return the layers whose weights ``freeze`` and ``lr_scales`` mean."""
    names = parameters.matching(model().module, [pattern], "freeze")[pattern]
    return {name.removesuffix(".weight") for name in names if name.endswith(".weight")} - {"head"}


def in_float(pattern: str) -> set[str]:
    """Return the layers that ``keep_float`` means, with what is inside."""
    hits = layers.matching(model().module, [pattern], where="keep_float")
    return {path for path, _ in _made(model().module) if patterns.inside(path, hits)} - {"head"}


def _made(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [
        (path, part)
        for path, part in module.named_modules()
        if isinstance(part, nn.Conv2d | nn.Linear)
    ]


@pytest.mark.parametrize("use", [cut, frozen, in_float])
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("stem", {"stem"}),
        ("body", {"body.0", "body.1.0"}),
        ("body.*", {"body.0", "body.1.0"}),
        ("body*", {"body.0", "body.1.0", "body2"}),
        ("body.1", {"body.1.0"}),
        ("b?dy.[01]", {"body.0", "body.1.0"}),
        ("Conv2d", {"stem", "body.0", "body.1.0", "body2"}),
        ("Sequential", {"body.0", "body.1.0"}),
    ],
)
def test_a_pattern_means_the_same_layers_to_every_key(
    use: Callable[[str], set[str]], pattern: str, expected: set[str]
) -> None:
    assert use(pattern) == expected


@pytest.mark.parametrize(("pattern", "least"), [("stem", "stem"), ("body2", "body2")])
def test_keep_spares_what_it_names(pattern: str, least: str) -> None:
    assert least in kept(pattern)
    assert kept("Conv2d") == {"stem", "body.0", "body.1.0", "body2"}


def test_layers_are_compared_by_the_same_patterns() -> None:
    survey = pairing.layer_outputs(model().module, IMAGES)

    def tied(pattern: str) -> list[str]:
        pair = [LayerPatterns(teacher=pattern, student=pattern)]
        return [
            pair.teacher for pair in pairing.named(pair, survey, survey, where="x", vectors=False)
        ]

    assert tied("Conv2d") == ["stem", "body.0", "body.1.0", "body2"]
    assert tied("body") == ["body"]  # its own output: nothing inside of it is compared
    assert set(tied("body*")) == {"body.0", "body.1.0", "body.1.1", "body.1", "body", "body2"}


@pytest.mark.parametrize("use", [kept, cut, frozen, in_float])
@pytest.mark.parametrize(
    ("pattern", "near"), [("steem", "stem"), ("conv2d", "Conv2d"), ("body.7", "body.")]
)
def test_a_pattern_that_names_nothing_is_refused_with_the_nearest(
    use: Callable[[str], set[str]], pattern: str, near: str
) -> None:
    with pytest.raises(InputError, match=f"'{pattern}' matches no layer.*did you mean '{near}"):
        use(pattern)


def test_a_ratio_for_layers_without_channels_is_refused() -> None:
    with pytest.raises(InputError, match=r"'ReLU' matches body\.1\.1, which make no channels"):
        cut("ReLU")


def test_classes_are_those_that_the_user_knows() -> None:
    """Adapters put layers of their own in the place of attention before pruning."""
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    module = VisionTransformer(
        image_size=8, patch_size=4, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16
    )
    made = Model(module.eval(), Architecture("net:vit", Path(), {}, InputSpec(shape=(3, 8, 8))))
    found = graph.find_groups(made, keep=["MultiheadAttention"])
    reasons = {group.kept for group in found.groups if "self_attention" in group.name}
    assert "kept by the recipe ('MultiheadAttention')" in reasons
