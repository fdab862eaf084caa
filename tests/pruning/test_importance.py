"""Every criterion against its formula, worked out with plain torch."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from squeeze.core import plugins
from squeeze.core.errors import InputError, SqueezeError
from squeeze.models.adapters.layers.select import Select
from squeeze.models.types import Model
from squeeze.pruning import graph, groups
from squeeze.pruning.criterion_group import members
from squeeze.pruning.importance.base import Evidence
from squeeze.pruning.step import PruneContext, scores
from squeeze.recipe.schema import PruneStep

Wrap = Callable[..., Model]
Batches = list[tuple[Tensor, Tensor]]


@pytest.fixture
def model(wrapped: Wrap) -> Model:
    """Two convolutions, a batch norm, and a head on a flattened 2x2 map; groups ``0`` and ``3``."""
    torch.manual_seed(3)
    layers = (
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(20, 3),
    )
    return wrapped(nn.Sequential(*layers), (1, 8, 8))


@pytest.fixture
def batches() -> Batches:
    """Three batches of which the last is smaller."""
    torch.manual_seed(4)
    return [(torch.randn(n, 1, 8, 8), torch.randint(0, 3, (n,))) for n in (4, 4, 3)]


def scored(
    name: str, found: groups.PruningGroups, batches: Batches | None = None
) -> dict[str, Tensor]:
    def labelled() -> Iterator[tuple[Tensor, Tensor]]:
        return iter(batches or [])

    evidence = Evidence(found.module, batches and labelled, functional.cross_entropy)
    found.module.requires_grad_(requires_grad=True)
    scorer = plugins.load(plugins.IMPORTANCE, name).scorer(evidence)
    return {
        group.name: scorer(members(found.module, group.dependencies)) for group in found.prunable
    }


def slices(layer: Any, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return a weight-shaped tensor by output channel and by input channel."""
    by_out = values.flatten(1)
    if isinstance(layer, nn.Linear):  # four positions of the map per channel
        return by_out, values.reshape(len(values), 5, 4).transpose(0, 1).flatten(1)
    return by_out, values.transpose(0, 1).flatten(1)


def coupled(module: Any, of: Callable[[Any], Tensor]) -> dict[str, list[Tensor]]:
    """Return what each group's weights look like channel by channel: made, normed, read."""
    return {
        "0": [slices(module[0], of(module[0]))[0], slices(module[3], of(module[3]))[1]],
        "3": [slices(module[3], of(module[3]))[0], slices(module[7], of(module[7]))[1]],
    }


def over_mean(values: Tensor) -> Tensor:
    return values / values.mean()


@pytest.mark.parametrize(("name", "power"), [("l1", 1), ("l2", 2)])
def test_norms_are_summed_over_all_that_a_channel_owns(model: Model, name: str, power: int) -> None:
    found = graph.find_groups(model)
    weights = coupled(model.module, lambda layer: layer.weight.detach())
    scale = model.module[1].weight.detach()[:, None]  # type: ignore[index, union-attr]
    weights["0"].append(scale)
    for group, score in scored(name, found).items():
        expected = sum(part.abs().pow(power).sum(1) for part in weights[group])
        assert isinstance(expected, Tensor)
        torch.testing.assert_close(score, over_mean(expected))


def test_bn_scale_is_the_scale_and_needs_a_norm(model: Model) -> None:
    found = graph.find_groups(model)
    score = scored("bn_scale", found)
    scale = model.module[1].weight.detach().abs()  # type: ignore[index, union-attr]
    torch.testing.assert_close(score["0"], over_mean(scale))
    assert score["3"] is None


def test_lamp_divides_by_all_that_is_not_smaller(model: Model) -> None:
    found = graph.find_groups(model)
    weights = coupled(model.module, lambda layer: layer.weight.detach())
    scale = model.module[1].weight.detach()[:, None]  # type: ignore[index, union-attr]
    weights["0"].append(scale)
    for group, score in scored("lamp", found).items():
        parts = weights[group]
        norm = sum((part**2).sum(1) for part in parts) / len(parts)
        assert isinstance(norm, Tensor)
        expected = torch.stack([u / norm[norm >= u].sum() for u in norm])
        torch.testing.assert_close(score, expected)


def test_fpgm_is_the_distance_to_all_other_filters(model: Model) -> None:
    found = graph.find_groups(model)
    weights = coupled(model.module, lambda layer: layer.weight.detach())
    for group, score in scored("fpgm", found).items():
        parts = weights[group]
        sums = [
            torch.stack([sum((f - g).norm() for g in part) for f in part])  # type: ignore[misc]
            for part in parts
        ]
        torch.testing.assert_close(score, over_mean(torch.stack(sums).sum(0)))


def test_fpgm_tells_filters_of_opposite_sign_apart(wrapped: Wrap) -> None:
    model = wrapped(nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 2, 1)), (1, 4, 4))
    first, second = model.module[0], model.module[1]  # type: ignore[index]
    first.weight.data = torch.tensor([1.0, 1.0, 1.0, -1.0]).view(4, 1, 1, 1)  # type: ignore[union-attr]
    second.weight.data.fill_(1.0)  # type: ignore[union-attr, operator]
    score = scored("fpgm", graph.find_groups(model))["0"]
    assert int(score.argmax()) == 3


@pytest.mark.parametrize("name", sorted(plugins.names(plugins.IMPORTANCE)))
def test_grouped_and_depthwise_convolutions_are_scored(
    wrapped: Wrap, name: str, batches: Batches
) -> None:
    layers = (
        nn.Conv2d(1, 4, 1),
        nn.Conv2d(4, 4, 3, 1, 1, groups=4),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 6, 1, groups=2),
        nn.BatchNorm2d(6),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )
    found = graph.find_groups(wrapped(nn.Sequential(*layers), (1, 8, 8)))
    assert [(g.channels, g.parts) for g in found.prunable] == [(4, 2), (6, 2)]
    for group in found.prunable:
        score = scored(name, found, batches)[group.name]
        assert score.shape == (group.channels,)
        assert bool(torch.isfinite(score).all() and (score >= 0).all())


def mean_gradients(module: Any, batches: Batches) -> dict[nn.Module, Tensor]:
    """Return the gradient of the mean loss over all samples."""
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    module.zero_grad()
    functional.cross_entropy(module(images), labels).backward()
    return {layer: layer.weight.grad.clone() for layer in module if hasattr(layer, "weight")}


def test_taylor_is_the_mean_squared_gradient_of_explicit_gates(
    model: Model, batches: Batches
) -> None:
    """A gate behind the batch norm of the first group, behind the convolution of the second."""
    found = graph.find_groups(model)
    got = scored("taylor", found, batches)
    layers = list(model.module)  # type: ignore[call-overload]
    squares = {"0": torch.zeros(4), "3": torch.zeros(5)}
    for images, labels in batches:
        for image, label in zip(images, labels, strict=True):
            first, second = torch.ones(4, requires_grad=True), torch.ones(5, requires_grad=True)
            x = layers[1](layers[0](image[None])) * first[:, None, None]
            x = layers[3](layers[2](x)) * second[:, None, None]
            for layer in layers[4:]:
                x = layer(x)
            loss = functional.cross_entropy(x, label[None])
            for name, gradient in zip(squares, torch.autograd.grad(loss, (first, second))):  # noqa: B905
                squares[name] += gradient**2
    for name, total in squares.items():
        torch.testing.assert_close(got[name], total / sum(len(labels) for _, labels in batches))


def test_hessian_is_squared_weights_times_the_mean_of_squared_gradients(
    model: Model, batches: Batches
) -> None:
    found = graph.find_groups(model)
    got = scored("hessian", found, batches)
    module: Any = model.module
    layers = [layer for layer in module if hasattr(layer, "weight")]
    fisher = {layer: torch.zeros_like(layer.weight) for layer in layers}
    samples = [(i, t) for images, labels in batches for i, t in zip(images, labels, strict=True)]
    for image, label in samples:
        module.zero_grad()
        functional.cross_entropy(module(image[None]), label[None]).backward()
        for layer in layers:
            fisher[layer] += layer.weight.grad**2 / len(samples)
    parts = coupled(module, lambda layer: layer.weight.detach() ** 2 * fisher[layer])
    norm = module[1]
    parts["0"].append((norm.weight.detach() ** 2 * fisher[norm])[:, None])
    for group, score in got.items():
        expected = sum(part.sum(1) for part in parts[group])
        assert isinstance(expected, Tensor)
        torch.testing.assert_close(score, expected)


def test_activation_is_the_mean_of_what_the_next_layers_read(
    model: Model, batches: Batches
) -> None:
    found = graph.find_groups(model)
    got = scored("activation", found, batches)
    module: Any = model.module
    images = torch.cat([images for images, _ in batches])
    with torch.no_grad():
        first = module[:3](images).abs().mean((0, 2, 3))
        second = module[:6](images).abs().mean(0).sum((1, 2))
    torch.testing.assert_close(got["0"], over_mean(first))
    torch.testing.assert_close(got["3"], over_mean(second))


@pytest.mark.parametrize("name", ["l1", "fpgm", "taylor", "hessian", "activation"])
def test_shuffled_channels_are_scored_where_they_are_read(
    wrapped: Wrap, name: str, batches: Batches
) -> None:
    """A shuffle and the same weights in another order: the same scores."""
    order = [2, 0, 3, 1]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Identity(), nn.Conv2d(4, 3, 3), *head)
    shuffled = copy.deepcopy(plain)
    shuffled[1] = Select(order, 4)
    shuffled[2].weight.data = plain[2].weight.data[:, order]  # type: ignore[union-attr, index]
    images = batches[0][0]
    torch.testing.assert_close(shuffled(images), plain(images))
    got = []
    for module in (shuffled, plain):
        found = graph.find_groups(wrapped(module, (1, 8, 8)))
        got.append(scored(name, found, batches)["0"])
    torch.testing.assert_close(got[0], got[1])


def test_random_follows_torchs_seed(model: Model) -> None:
    found = graph.find_groups(model)
    step = PruneStep(pruning_ratio=0.5, importance="random")
    draws = [scores(found, step, PruneContext(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0]["0"], draws[1]["0"])  # type: ignore[arg-type]
    assert not torch.equal(draws[0]["0"], draws[2]["0"])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(plugins.names(plugins.IMPORTANCE)))
def test_nothing_stays_on_the_module(name: str, digits: Any, trained: Model) -> None:
    from squeeze.tasks.classification import task as classification

    frozen = trained.copy()
    frozen.module.conv1.weight.requires_grad = False  # type: ignore[union-attr, assignment]
    found = graph.find_groups(frozen)
    before = {key: value.clone() for key, value in found.module.state_dict().items()}
    attributes = {path: set(vars(part)) for path, part in found.module.named_modules()}
    flags = {key: p.requires_grad for key, p in found.module.named_parameters()}
    step = PruneStep(pruning_ratio=0.5, importance=name, samples=70)
    around = PruneContext(0, digits.train, classification)
    first, again = (scores(found, step, around) for _ in range(2))
    for group in found.prunable:
        assert torch.equal(first[group.name], again[group.name])  # type: ignore[arg-type]
        assert first[group.name].shape == (group.units,)  # type: ignore[union-attr]
    assert all(torch.equal(before[k], v) for k, v in found.module.state_dict().items())
    assert {path: set(vars(part)) for path, part in found.module.named_modules()} == attributes
    assert {key: p.requires_grad for key, p in found.module.named_parameters()} == flags
    assert not flags["conv1.weight"]
    assert all(p.grad is None for p in found.module.parameters())
    for part in found.module.modules():
        hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks)
        assert not any(hooks)
    assert not found.module.training


@pytest.mark.parametrize("name", ["taylor", "hessian", "activation"])
def test_a_criterion_without_its_images_is_an_error(model: Model, name: str) -> None:
    found = graph.find_groups(model)
    with pytest.raises(SqueezeError, match=r"^the criterion needs images, and there are none$"):
        scores(found, PruneStep(pruning_ratio=0.5, importance=name), PruneContext(0))
    assert all(p.grad is None and p.requires_grad for p in found.module.parameters())


def test_scores_that_are_no_numbers_are_an_error(model: Model) -> None:
    model.module[0].weight.data.zero_()  # type: ignore[index, union-attr, operator]
    model.module[1].weight.data.zero_()  # type: ignore[index, union-attr, operator]
    model.module[3].weight.data.zero_()  # type: ignore[index, union-attr, operator]
    with pytest.raises(SqueezeError) as caught:
        scores(graph.find_groups(model), PruneStep(pruning_ratio=0.5), PruneContext(0))
    assert str(caught.value) == (
        "importance 'l2' is not finite for 0\n  use another criterion, or keep the layer"
    )


def test_an_unknown_criterion_names_the_nearest(model: Model) -> None:
    step = PruneStep(pruning_ratio=0.5, importance="tailor")
    with pytest.raises(InputError, match=r"unknown importance 'tailor', .*did you mean 'taylor'"):
        scores(graph.find_groups(model), step, PruneContext(0))
