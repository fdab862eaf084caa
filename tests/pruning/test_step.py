"""The prune step as a whole: rounds, batch norms, what it tells."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from squeeze.core.errors import SqueezeError
from squeeze.data.sets import Data
from squeeze.data.splits import Split
from squeeze.models.types import Model
from squeeze.pruning.step import PruneContext, prune, run
from squeeze.recipe.schema import PruneStep
from squeeze.results import Epoch
from squeeze.tasks.classification import task as classification

Wrap = Callable[..., Model]
HALF = [8, 8, 8, 16, 16, 16, 32, 32, 32]


def step(**changes: object) -> PruneStep:
    return PruneStep.model_validate({"pruning_ratio": 0.5, "align": 1} | changes)


def widths(model: Model) -> list[int]:
    return [m.out_channels for m in model.module.modules() if isinstance(m, nn.Conv2d)]


def norms(module: Any) -> list[nn.BatchNorm2d]:
    return [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]


def few(digits: Data, samples: int) -> Split:
    assert digits.train is not None
    return digits.train.take(range(samples))


def test_batch_norms_are_averaged_anew(wrapped: Wrap, digits: Data) -> None:
    """Three batches of 64, 64 and 22: every batch's mean and unbiased variance counts equally."""
    torch.manual_seed(0)
    model = wrapped(
        nn.Sequential(
            nn.Conv2d(1, 6, 3),
            nn.BatchNorm2d(6),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 10),
        ),
        (1, 12, 12),
    )
    split = few(digits, 150)
    around = PruneContext(0, split, classification)
    done = run(model, step(), around).model
    conv, norm = done.module[0], done.module[1]  # type: ignore[index]
    maps = []
    for start in (0, 64, 128):
        images, _ = split.batch(range(start, min(start + 64, 150)))
        with torch.no_grad():
            maps.append(conv(torch.from_numpy(images)).transpose(0, 1).flatten(1))  # type: ignore[operator]
    mean = torch.stack([m.mean(1) for m in maps]).mean(0)
    var = torch.stack([m.var(1, unbiased=True) for m in maps]).mean(0)
    torch.testing.assert_close(norm.running_mean, mean)  # type: ignore[union-attr]
    torch.testing.assert_close(norm.running_var, var)  # type: ignore[union-attr]
    assert not done.module.training
    assert norm.momentum == 0.1  # type: ignore[union-attr]


@pytest.mark.parametrize("case", ["off", "no images", "one image"])
def test_batch_norms_that_are_not_averaged_stay(trained: Model, digits: Data, case: str) -> None:
    samples = {"no images": None, "one image": few(digits, 1)}.get(case, few(digits, 100))
    plain = prune(trained, step(), seed=0)
    around = PruneContext(0, samples, classification)
    done = run(trained, step(reestimate_batchnorm=case != "off"), around).model
    for norm, expected in zip(norms(done.module), norms(plain.module), strict=True):
        assert torch.equal(norm.running_mean, expected.running_mean)  # type: ignore[arg-type]
        assert torch.equal(norm.running_var, expected.running_var)  # type: ignore[arg-type]


def test_the_original_keeps_its_batch_norms(trained: Model, digits: Data) -> None:
    before = {key: value.clone() for key, value in trained.module.state_dict().items()}
    run(trained, step(), PruneContext(0, few(digits, 100), classification))
    assert all(torch.equal(before[k], v) for k, v in trained.module.state_dict().items())


def test_rounds_fine_tune_in_between_and_end_at_the_same_widths(trained: Model) -> None:
    seen: list[tuple[int, list[int]]] = []

    def finetune(model: Model, number: int) -> tuple[Model, list[Epoch]]:
        seen.append((number, widths(model)))
        return model.copy(), []

    done = run(trained, step(rounds=2), PruneContext(0, finetune=finetune))
    once = prune(trained, step(), seed=0)
    assert widths(done.model) == widths(once) == HALF
    assert seen == [(1, [12, 12, 12, 24, 24, 24, 48, 48, 48]), (2, widths(once))]
    assert len(done.model.architecture.pruning) == 2
    assert len(once.architecture.pruning) == 1
    numbered = [note.partition(":")[0] for note in done.notes]
    assert set(numbered) == {"round 1", "round 2"}


def test_max_ratio_counts_from_before_the_first_round(trained: Model) -> None:
    done = prune(trained, step(pruning_ratio=0.9, max_ratio=0.5, rounds=3), seed=0)
    assert widths(done) == HALF


@pytest.mark.parametrize("ranking", ["global", "isomorphic"])
def test_ranking_together_removes_as_many_channels_in_all(trained: Model, ranking: str) -> None:
    done = prune(trained, step(ranking=ranking, importance="lamp"), seed=0)
    (made,) = done.architecture.pruning
    assert sum(len(channels) for channels in made.removed.values()) == 112  # of 224
    assert widths(done) != HALF


def test_the_record_holds_the_channels_that_went(trained: Model) -> None:
    done = prune(trained, step(importance="l1"), seed=0)
    (made,) = done.architecture.pruning
    assert made.importance == "l1"
    assert sorted(len(channels) for channels in made.removed.values()) == [8, 8, 16, 16, 32, 32]
    inner = made.removed["stages.0.0.conv1"]
    left = [channel for channel in range(16) if channel not in inner]
    before: Any = trained.module.get_submodule("stages.0.0.bn1")
    after: Any = done.module.get_submodule("stages.0.0.bn1")
    assert torch.equal(after.weight, before.weight[left])
    assert torch.equal(after.running_mean, before.running_mean[left])


def test_notes_tell_what_went_and_what_was_kept(trained: Model) -> None:
    done = run(trained, step(), PruneContext(0))
    (first,) = done.notes
    assert first.startswith("112 of 224 channels in 6 of 7 groups removed by l2, ")
    share = float(first.removesuffix("% of the importance kept").rpartition(" ")[2])
    assert 50 < share < 100


@pytest.mark.parametrize(("seed", "same"), [(0, True), (1, False)])
def test_the_seed_decides_what_is_random(trained: Model, seed: int, same: bool) -> None:  # noqa: FBT001
    first = prune(trained, step(importance="random"), seed=0)
    second = prune(trained, step(importance="random"), seed=seed)
    assert (first.architecture.pruning == second.architecture.pruning) is same


def test_a_ratio_of_zero_changes_nothing_whatever_the_alignment(trained: Model) -> None:
    for align in (1, 8, 24):
        done = prune(trained, step(pruning_ratio=0.0, align=align), seed=0)
        assert widths(done) == widths(trained)


def test_an_alignment_that_allows_nothing_is_an_error(trained: Model) -> None:
    with pytest.raises(SqueezeError) as caught:
        prune(trained, step(pruning_ratio=0.1, align=64), seed=0)
    assert str(caught.value) == (
        "builtin:resnet8: nothing could be removed with align 64 and max_ratio 0.9\n"
        "  ask for more, raise max_ratio, or lower align"
    )
