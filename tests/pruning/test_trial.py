"""One group that cannot be pruned keeps no other from it, and the reason is told."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from squeeze.core.errors import SqueezeError
from squeeze.models.types import Model
from squeeze.pruning import graph, trial
from squeeze.pruning.step import prune
from squeeze.recipe.schema import PruneStep

Wrap = Callable[..., Model]


class Reshaping(nn.Module):
    """A branch whose width is written into the code, beside one whose is not."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.fixed = nn.Sequential(nn.Conv2d(8, 12, 1), nn.ReLU())
        self.free = nn.Conv2d(8, 10, 1)
        self.heads = nn.ModuleList([nn.Linear(12, 4), nn.Linear(10, 4)])

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        fixed = self.fixed(x).mean((2, 3)).reshape(-1, 12)
        return self.heads[0](fixed) + self.heads[1](self.free(x).mean((2, 3)))  # type: ignore[no-any-return]


def test_a_width_in_the_code_breaks_its_own_group_only(wrapped: Wrap) -> None:
    model = wrapped(Reshaping())
    found = graph.find_groups(model)
    reasons = {group.name: group.kept for group in found.groups}
    broken = reasons.pop("fixed.0")
    assert broken == (
        "unsupported operation in the model (Reshaping): shape '[-1, 12]' is invalid for input of "
        "size 22"
    )
    assert reasons == {
        "stem": None,
        "free": None,
        "heads.0": "makes the model's output",
        "heads.1": "makes the model's output",
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
            if a.shape[1] + b.shape[1] < 11:
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
    found = graph.find_groups(wrapped(Reshaping()))
    before = {name: tensor.clone() for name, tensor in found.module.state_dict().items()}
    example = torch.zeros(2, 3, 8, 8)
    assert trial.failures(found, example, graph.remove_) == {}
    assert all(torch.equal(before[n], t) for n, t in found.module.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in found.module.modules())


def test_watching_names_the_culprit_and_leaves_no_hook() -> None:
    module = nn.Sequential(nn.Identity(), nn.Sequential(nn.Linear(3, 2)))
    with pytest.raises(RuntimeError) as caught, trial.watched(module):
        module(torch.zeros(1, 5))
    assert trial.culprit(caught.value) == "1.0 (Linear)"
    assert trial.culprit(ValueError()) is None
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
