"""Groups are proven by numbers: what cannot be pruned right stays, with the reason."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.coupled_networks import MIXED_UP, ChannelsLast, Net
from torch import Tensor, nn

from squeeze.core.errors import SqueezeError
from squeeze.models.types import Architecture, Model
from squeeze.pruning import graph, proof
from squeeze.pruning.groups import PruningGroups
from squeeze.pruning.step import prune
from squeeze.recipe.schema import InputSpec, PruneStep

Wrap = Callable[..., Model]


def failures(found: PruningGroups) -> dict[str, str]:
    return proof.failures(found, torch.zeros(2, 3, 8, 8), graph.remove_)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**16), which=st.sampled_from(["outer", "inner"]))
def test_a_wrong_map_is_caught(seed: int, which: str) -> None:
    """One layer loses other channels than it should, and all shapes fit."""
    found = surveyed_residual()
    group = next(group for group in found.groups if group.name == which)
    source = torch.Generator().manual_seed(seed)
    number = int(torch.randint(len(group.dependencies), (), generator=source))
    side = group.dependencies[number]
    order = torch.randperm(len(side.indices), generator=source).tolist()
    moved = replace(side, indices=tuple(side.indices[i] for i in order))
    dependencies = list(group.dependencies)
    dependencies[number] = moved
    wrong = replace(group, dependencies=tuple(dependencies))
    others = tuple(wrong if g is group else g for g in found.groups)
    reasons = failures(replace(found, groups=others))
    shifted = sum(old != new for old, new in zip(side.indices, moved.indices, strict=True))
    assert reasons.keys() <= {which}
    if shifted == len(side.indices):  # two halves need not part two channels that change places
        assert re.search(MIXED_UP, reasons[which])


def surveyed_residual() -> PruningGroups:
    """Survey two convolutions beside a sum once."""
    if not _FOUND:
        torch.manual_seed(0)
        module = Residual().eval()
        spec = InputSpec(shape=(3, 8, 8))
        model = Model(module, Architecture("test:x", Path(), {}, spec))
        _FOUND.append(graph.find_groups(model))
    return _FOUND[0]


_FOUND: list[PruningGroups] = []


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.inner, self.outer = nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = x + self.outer(torch.relu(self.inner(x)))
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 8), nn.InstanceNorm2d(8), nn.GroupNorm(1, 8)])
def test_a_norm_may_change_numbers(norm: nn.Module, wrapped: Wrap) -> None:
    model = wrapped(nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.ReLU(), nn.Conv2d(8, 2, 1)))
    assert [group.name for group in graph.find_groups(model).prunable] == ["0"]


def test_a_layer_norm_may_change_numbers_and_a_misplaced_one_may_not(wrapped: Wrap) -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8)
            self.head = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.norm(self.conv(x).flatten(2).transpose(1, 2)))
            return self.head(x.mean(1))  # type: ignore[no-any-return]

    found = graph.find_groups(wrapped(Tokens()))
    (group,) = found.prunable
    sides = tuple(
        replace(side, indices=side.indices[::-1]) if side.kind == "LayerNorm" else side
        for side in group.dependencies
    )
    assert sides != group.dependencies
    wrong = replace(group, dependencies=sides)
    reasons = failures(replace(found, groups=(wrong, *found.groups[1:])))
    assert re.search(MIXED_UP, reasons["conv"])


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (nn.Softmax(2), "cannot be proven: outputs of random images are all the same"),
        (nn.Threshold(9e9, 0), "cannot be proven: outputs of random images are all the same"),
    ],
)
def test_outputs_that_tell_nothing_prove_nothing(
    last: nn.Module, reason: str, wrapped: Wrap
) -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 8), last)
    assert graph.find_groups(wrapped(layers)).groups[0].kept == reason


def test_a_branch_without_influence_is_not_proven(wrapped: Wrap) -> None:
    class Deaf(Net):
        def forward(self, x: Tensor) -> Tensor:
            beside = self.c(x).mean((2, 3))  # type: ignore[operator]
            return self.head(0 * torch.relu(self.a(x)).mean((2, 3))) + beside  # type: ignore[no-any-return]

    found = {
        group.name: group.kept
        for group in graph.find_groups(wrapped(Deaf(c=nn.Conv2d(3, 4, 1)))).groups
    }
    assert found["a"] == "cannot be proven: its channels have no influence on the outputs"


def test_what_is_not_a_number_proves_nothing(wrapped: Wrap) -> None:
    class Log(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.log(-x.abs() - 1)

    layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1), Log())
    reason = graph.find_groups(wrapped(layers)).groups[0].kept
    assert reason == "cannot be proven: outputs of random images are not finite"


def test_dead_channels_hide_nothing(wrapped: Wrap) -> None:
    """All weights of a trained network are zero in half of its channels, or equal in all."""
    for value in (0.0, 0.1):
        module = ChannelsLast()
        with torch.no_grad():
            for layer in (module.a, module.b, module.head):
                layer.weight[::2] = value
                layer.bias[::2] = value
        found = graph.find_groups(wrapped(module))
        assert [group.name for group in found.prunable] == ["a", "b"]
        group = found.prunable[1]
        sides = tuple(
            replace(side, roots=tuple(sorted(side.roots))) if side.path == "head" else side
            for side in group.dependencies
        )
        assert sides != group.dependencies  # channel by channel, as if they were not last
        wrong = replace(group, dependencies=sides)
        assert re.search(MIXED_UP, failures(replace(found, groups=(wrong,)))["b"])


@dataclass
class Found:
    logits: Tensor
    more: dict[str, list[Tensor]]


def test_every_output_counts_whatever_holds_it(wrapped: Wrap) -> None:
    class Several(Net):
        def forward(self, x: Tensor) -> Any:
            x = self.features(x)
            logits = self.head(torch.relu(self.b(x)).mean((2, 3)))
            return Found(logits, {"more": [self.second(x.tanh())]})  # type: ignore[operator]

    found = graph.find_groups(wrapped(Several(second=nn.Conv2d(8, 2, 1))))
    assert [group.name for group in found.prunable] == ["a", "b"]
    group = found.prunable[0]
    sides = tuple(
        replace(side, indices=side.indices[::-1]) if side.path == "second" else side
        for side in group.dependencies
    )
    assert sides != group.dependencies
    wrong = replace(group, dependencies=sides)
    reasons = failures(replace(found, groups=(wrong, *found.groups[1:])))
    assert re.search(MIXED_UP, reasons.pop("a"))
    assert not reasons


class Adding(nn.Module):
    """A branch whose width is written into the code, beside one whose is not."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.fixed = nn.Sequential(nn.Conv2d(8, 12, 1), nn.ReLU())
        self.free = nn.Conv2d(8, 10, 1)
        self.heads = nn.ModuleList([nn.Linear(12, 4), nn.Linear(10, 4)])

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        fixed = self.fixed(x).mean((2, 3)) + torch.zeros(12)
        return self.heads[0](fixed) + self.heads[1](self.free(x).mean((2, 3)))  # type: ignore[no-any-return]


def test_a_width_in_the_code_breaks_its_own_group_only(wrapped: Wrap) -> None:
    model = wrapped(Adding())
    found = graph.find_groups(model)
    reasons = {group.name: group.kept for group in found.groups}
    broken = reasons.pop("fixed.0")
    assert broken == (
        "unsupported operation in the model (Adding): The size of tensor a (7) must match the "
        "size of tensor b (12) at non-singleton dimension 1"
    )
    assert reasons == {
        "stem": None,
        "free": None,
        "heads.1": "makes the model's output",  # and heads.0, to which it is added
    }
    pruned = prune(model, PruneStep(pruning_ratio=0.5, align=1), seed=0)
    assert pruned.module.fixed[0].weight.shape == (12, 4, 1, 1)  # type: ignore[union-attr, index]
    assert pruned.module.free.weight.shape == (5, 4, 1, 1)  # type: ignore[union-attr]
    assert pruned.module(torch.zeros(3, 3, 8, 8)).shape == (3, 4)


def test_the_innermost_module_that_failed_is_named(wrapped: Wrap) -> None:
    class Four(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[1] != 4:
                raise ValueError("four channels, please\nand no more")
            return x

    layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.ReLU(), Four()), nn.Conv2d(4, 2, 1))
    model = wrapped(layers)
    (first, _) = graph.find_groups(model).groups
    assert first.kept == "unsupported operation in 1.1 (Four): four channels, please"
    with pytest.raises(SqueezeError) as caught:
        prune(model, PruneStep(pruning_ratio=0.5), seed=0)
    assert str(caught.value) == (
        "test:x: nothing can be pruned: 0: unsupported operation in 1.1 (Four): four channels, "
        "please; 2: makes the model's output\n  'squeeze inspect pruning' shows every layer"
    )


def test_groups_that_break_only_together_are_all_left(wrapped: Wrap) -> None:
    class Together(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 6, 1)
            self.heads = nn.ModuleList([nn.Conv2d(6, 2, 1), nn.Conv2d(6, 2, 1)])

        def forward(self, x: Tensor) -> Tensor:
            a, b = self.a(x), self.b(x)
            if a.shape[1] + b.shape[1] < 10:
                raise ValueError("too narrow")
            return self.heads[0](a) + self.heads[1](b)  # type: ignore[no-any-return]

    found = graph.find_groups(wrapped(Together()))
    reason = (
        "breaks together with other groups: unsupported operation in the model (Together): "
        "too narrow"
    )
    assert {g.name: g.kept for g in found.groups if g.name in "ab"} == {"a": reason, "b": reason}


def test_a_changed_output_is_a_reason(wrapped: Wrap) -> None:
    """Channels that come out as positions: the last layer on the way is not theirs."""

    class Sideways(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 6, 1), nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.conv(x))  # type: ignore[no-any-return]

    found = graph.find_groups(wrapped(Sideways()))
    assert found.prunable == ()
    assert all(group.kept for group in found.groups)


def test_trying_out_leaves_the_survey_alone(wrapped: Wrap) -> None:
    found = graph.find_groups(wrapped(Adding()))
    before = {name: tensor.clone() for name, tensor in found.module.state_dict().items()}
    example = torch.zeros(2, 3, 8, 8)
    assert proof.failures(found, example, graph.remove_) == {}
    assert all(torch.equal(before[n], t) for n, t in found.module.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in found.module.modules())


def test_watching_names_the_culprit_and_leaves_no_hook() -> None:
    module = nn.Sequential(nn.Identity(), nn.Sequential(nn.Linear(3, 2)))
    with pytest.raises(RuntimeError) as caught, proof.watched(module):
        module(torch.zeros(1, 5))
    assert proof.culprit(caught.value) == "1.0 (Linear)"
    assert proof.culprit(ValueError()) is None
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
