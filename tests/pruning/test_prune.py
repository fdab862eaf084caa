"""Pruning: the right channels go, everywhere they are coupled, and nothing else."""

from pathlib import Path

import pytest
import torch
from torch import nn

from squeeze.core.errors import SqueezeError
from squeeze.models.blocks import build
from squeeze.models.types import Architecture, Model
from squeeze.pruning.step import prune
from squeeze.recipe.schema import InputSpec, ModelBlock, PruneStep


def wrapped(module: nn.Module, shape: tuple[int, int, int]) -> Model:
    return Model(module.eval(), Architecture("test:x", Path(), {}, InputSpec(shape=shape)))


def two_layers() -> Model:
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        nn.ReLU(),
        nn.Conv2d(4, 8, 3, bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )
    return wrapped(module, (1, 8, 8))


def test_l2_removes_the_smallest_channels() -> None:
    model = two_layers()
    first, second = model.module[0], model.module[2]  # type: ignore[index]
    with torch.no_grad():
        for layer in (first, second):
            layer.weight.fill_(1.0)  # type: ignore[union-attr, operator]
        for small in (1, 3):  # weak in what they give and in what is taken from them
            first.weight[small] = 0.01 * small  # type: ignore[union-attr, index, operator]
            second.weight[:, small] = 0.01 * small  # type: ignore[union-attr, index, operator]
    pruned = prune(model, PruneStep(pruning_ratio=0.5, align=1), seed=0)
    removed = pruned.architecture.pruning[0].removed
    assert removed["0"] == (1, 3)
    assert torch.equal(pruned.module[0].weight, torch.ones(2, 1, 3, 3))  # type: ignore[index, union-attr, arg-type]
    assert pruned.module[2].weight.shape == (4, 2, 3, 3)  # type: ignore[index, union-attr]


def test_the_output_layer_and_the_original_stay() -> None:
    model = two_layers()
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    pruned = prune(model, PruneStep(pruning_ratio=0.5, align=1), seed=0)
    assert pruned.module(torch.zeros(5, 1, 8, 8)).shape == (5, 3)
    assert pruned.module[6].weight.shape == (3, 4)  # type: ignore[index, union-attr]
    for key, value in model.module.state_dict().items():
        assert torch.equal(value, before[key])


def test_channels_are_aligned() -> None:
    spec = InputSpec(shape=(1, 16, 16))
    model = build(ModelBlock(build="builtin:resnet20", args={"in_channels": 1}, input=spec), Path())
    pruned = prune(model, PruneStep(pruning_ratio=0.4, align=8), seed=0)
    widths = {m.out_channels for m in pruned.module.modules() if isinstance(m, nn.Conv2d)}
    assert widths == {8, 16, 40}  # 0.6 * 64 = 38.4


def test_random_follows_its_seed() -> None:
    step = PruneStep(pruning_ratio=0.5, align=1, importance="random")
    spec = InputSpec(shape=(1, 16, 16))
    model = build(ModelBlock(build="builtin:resnet8", args={"in_channels": 1}, input=spec), Path())
    events = [prune(model, step, seed=seed).architecture.pruning for seed in (0, 0, 1)]
    assert events[0] == events[1]
    assert events[0] != events[2]


def test_a_ratio_of_zero_changes_nothing() -> None:
    model = two_layers()
    pruned = prune(model, PruneStep(pruning_ratio=0.0, align=1), seed=0)
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(pruned.module(images), model.module(images))
    assert pruned.architecture.pruning == ()


def test_nothing_to_remove_is_an_error() -> None:
    with pytest.raises(SqueezeError, match="nothing could be removed with align 64"):
        prune(two_layers(), PruneStep(pruning_ratio=0.1, align=64), seed=0)
    only_output = wrapped(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), (1, 8, 8))
    with pytest.raises(SqueezeError, match="nothing can be pruned: 1: makes the model's output"):
        prune(only_output, PruneStep(pruning_ratio=0.5), seed=0)


def test_a_model_that_cannot_be_traced_is_an_error() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 16, 1)
            self.head = nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.conv(x).mean((2, 3)) + torch.zeros(16))  # type: ignore[no-any-return]

    message = "nothing can be pruned: .*unsupported operation in the model"
    with pytest.raises(SqueezeError, match=message):
        prune(wrapped(Odd(), (1, 8, 8)), PruneStep(pruning_ratio=0.5, align=1), seed=0)
