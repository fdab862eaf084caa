"""Which channels belong together, and that removing them is silencing whoever reads them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from squeeze.core.errors import InputError, SqueezeError
from squeeze.models.blocks import build
from squeeze.models.types import Architecture, Model
from squeeze.pruning import graph, groups
from squeeze.recipe.schema import InputSpec, ModelBlock

Wrap = Callable[..., Model]
Readers = Mapping[str, tuple[str, ...]]
"""Layer to the layer whose outputs it reads, one name per block of channels."""


class Depthwise(nn.Module):
    """An inverted residual between a stem and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 2, 1)
        self.expand = nn.Conv2d(6, 12, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(12)
        self.depth = nn.Conv2d(12, 12, 3, 1, 1, groups=12)
        self.norm2 = nn.BatchNorm2d(12)
        self.project = nn.Conv2d(12, 6, 1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = functional.relu6(self.norm1(self.expand(x)))
        x = x + self.project(functional.hardswish(self.norm2(self.depth(y))))
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


class Grouped(nn.Module):
    """A ResNeXt block: a 3x3 convolution in four groups."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.reduce = nn.Conv2d(8, 16, 1)
        self.grouped = nn.Conv2d(16, 24, 3, 1, 1, groups=4)
        self.norm = nn.BatchNorm2d(24)
        self.expand = nn.Conv2d(24, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        y = torch.relu(self.norm(self.grouped(torch.relu(self.reduce(x)))))
        return self.head((x + self.expand(y)).mean((2, 3)))  # type: ignore[no-any-return]


class Dense(nn.Module):
    """Every layer reads all before it; a linear layer reads a flattened map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.norm1 = nn.BatchNorm2d(4)
        self.grow1 = nn.Conv2d(4, 6, 3, 1, 1)
        self.norm2 = nn.BatchNorm2d(10)
        self.grow2 = nn.Conv2d(10, 5, 3, 1, 1)
        self.norm3 = nn.BatchNorm2d(15)
        self.head = nn.Linear(15 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = self.stem(x)
        second = self.grow1(torch.relu(self.norm1(first)))
        third = self.grow2(torch.relu(self.norm2(torch.cat((first, second), 1))))
        x = torch.relu(self.norm3(torch.cat((first, second, third), 1)))
        return self.head(functional.adaptive_avg_pool2d(x, 2).flatten(1))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Net:
    """A network and what one reads off its code.

    Attributes:
        make: Its factory.
        groups: Root layer to the number of channels.
        same: Other layers that make a root's channels.
        readers: Who reads what.
        parts: Groups of channels whose positions go together.
        shape: Of an image.
    """

    make: Callable[[], nn.Module]
    groups: Mapping[str, int]
    readers: Readers
    same: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, int] = field(default_factory=dict)
    shape: tuple[int, int, int] = (3, 8, 8)


def resnet(name: str, blocks: int, shortcut: str) -> Net:
    """Read the coupling of a CIFAR ResNet off its code."""
    spec = InputSpec(shape=(1, 12, 12))
    args = {"in_channels": 1, "shortcut": shortcut}
    groups, readers, same, width = {"conv1": 16}, {}, {}, 16
    stream = "conv1"
    for stage in range(3):
        for number in range(blocks):
            block = f"stages.{stage}.{number}"
            readers[f"{block}.conv1"] = (stream,)
            groups[f"{block}.conv1"] = 16 * 2**stage
            readers[f"{block}.conv2"] = (f"{block}.conv1",)
            if stage and number == 0:
                readers[f"{block}.shortcut.0"] = (stream,)
                stream, width = f"{block}.conv2", width * 2
                groups[stream] = width
                same[f"{block}.shortcut.0"] = stream
            else:
                same[f"{block}.conv2"] = stream
    readers["fc"] = (stream,)
    block = ModelBlock(build=f"builtin:{name}", args=args, input=spec)
    return Net(lambda: build(block, Path()).module, groups, readers, same, shape=(1, 12, 12))


NETS = {
    "resnet8": resnet("resnet8", 1, "projection"),
    "resnet20": resnet("resnet20", 3, "projection"),
    "depthwise": Net(
        Depthwise,
        {"stem": 6, "expand": 12},
        {"expand": ("stem",), "project": ("expand",), "head": ("stem",)},
        {"project": "stem", "depth": "expand"},
    ),
    "grouped": Net(
        Grouped,
        {"stem": 8, "reduce": 16, "grouped": 24},
        {"reduce": ("stem",), "grouped": ("reduce",), "expand": ("grouped",), "head": ("stem",)},
        {"expand": "stem"},
        {"reduce": 4, "grouped": 4},
    ),
    "dense": Net(
        Dense,
        {"stem": 4, "grow1": 6, "grow2": 5},
        {
            "grow1": ("stem",),
            "grow2": ("stem", "grow1"),
            "head": ("stem", "grow1", "grow2"),
        },
    ),
}


def silence_(module: nn.Module, net: Net, gone: Mapping[str, set[int]]) -> None:
    """Zero the weights with which channels are read."""
    for path, sources in net.readers.items():
        layer: Any = module.get_submodule(path)
        start = 0
        total = sum(net.groups[source] for source in sources)
        groups = getattr(layer, "groups", 1)
        each = layer.weight.shape[1] * groups // total  # positions that a channel was flattened to
        for source in sources:
            for channel in gone.get(source, ()):
                for position in range(each):
                    index = (start + channel) * each + position
                    inputs, outputs = layer.weight.shape[1], layer.weight.shape[0] // groups
                    part = index // inputs
                    rows = slice(part * outputs, (part + 1) * outputs)
                    layer.weight.data[rows, index % inputs] = 0
            start += net.groups[source]


def root_names(found: groups.PruningGroups, net: Net) -> dict[str, str]:
    """Match the survey's names with those read off the code."""
    made = {
        group.name: {net.same.get(t.path, t.path) for t in group.dependencies if t.is_out}
        for group in found.prunable
    }
    return {name: next(iter(paths & set(net.groups))) for name, paths in made.items()}


@pytest.mark.parametrize("name", list(NETS))
@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_removing_channels_is_silencing_their_readers(name: str, data: st.DataObject) -> None:
    net = NETS[name]
    model, found = surveyed(name)
    names = root_names(found, net)
    assert {names[g.name]: g.channels for g in found.prunable} == dict(net.groups)
    assert {names[g.name]: g.parts for g in found.prunable if g.parts > 1} == dict(net.parts)
    gone = {
        g.name: data.draw(st.sets(st.integers(0, g.units - 1), max_size=g.units - 1))
        for g in found.prunable
    }
    pruned = graph.narrowed(model, found, {}).module
    graph.remove_(pruned, found.groups, gone)
    silenced = graph.narrowed(model, found, {}).module
    channels = {
        names[g.name]: {c for unit in gone[g.name] for c in g.of_unit(unit)} for g in found.prunable
    }
    silence_(silenced, net, channels)
    images = torch.randn(2, *net.shape)
    with torch.inference_mode():
        expected, outputs = silenced(images), pruned(images)
    torch.testing.assert_close(outputs, expected, rtol=1e-5, atol=1e-5)
    widths = {names[g.name]: g.channels - len(channels[names[g.name]]) for g in found.prunable}
    for root, width in widths.items():
        assert pruned.get_submodule(root).weight.shape[0] == width  # type: ignore[union-attr, index]


_SURVEYED: dict[str, tuple[Model, groups.PruningGroups]] = {}


def surveyed(name: str) -> tuple[Model, groups.PruningGroups]:
    """Survey a network once."""
    if name not in _SURVEYED:
        torch.manual_seed(1)
        module = NETS[name].make().eval()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_()  # type: ignore[union-attr, operator]
                part.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr, operator]
                nn.init.uniform_(part.weight, 0.5, 2.0)
                nn.init.normal_(part.bias)
        spec = InputSpec(shape=NETS[name].shape)
        model = Model(module, Architecture("test:x", Path(), {}, spec))
        _SURVEYED[name] = model, graph.find_groups(model)
    return _SURVEYED[name]


@settings(deadline=None, max_examples=15)
@given(kept=st.sets(st.integers(0, 95), min_size=1, max_size=95))
def test_layer_norms_lose_the_right_channels(kept: set[int]) -> None:
    """A layer norm averages over what is left, so the reference is computed on what is left."""
    model, found = layer_norm_net()
    stem, norm, head = (model.module[i] for i in (1, 2, 4))  # type: ignore[index]
    pruned = graph.narrowed(model, found, {}).module
    graph.remove_(pruned, found.groups, {"1": set(range(96)) - kept})
    left = sorted(kept)
    images = torch.randn(2, 1, 2, 2)
    with torch.inference_mode():
        x = functional.linear(images.flatten(1), stem.weight[left], stem.bias[left])  # type: ignore[union-attr, index]
        x = functional.layer_norm(x, (len(left),), norm.weight[left], norm.bias[left])  # type: ignore[union-attr, index]
        expected = functional.linear(torch.relu(x), head.weight[:, left], head.bias)  # type: ignore[union-attr, index, arg-type]
        torch.testing.assert_close(pruned(images), expected, rtol=1e-5, atol=1e-5)


def layer_norm_net() -> tuple[Model, groups.PruningGroups]:
    """Return a linear layer, a layer norm of 96 channels and a head."""
    if "layer_norm" not in _SURVEYED:
        layers = (nn.Flatten(), nn.Linear(4, 96), nn.LayerNorm(96), nn.ReLU(), nn.Linear(96, 3))
        module = nn.Sequential(*layers).eval()
        nn.init.normal_(module[2].weight)
        nn.init.normal_(module[2].bias)
        spec = InputSpec(shape=(1, 2, 2))
        model = Model(module, Architecture("test:x", Path(), {}, spec))
        _SURVEYED["layer_norm"] = model, graph.find_groups(model)
    return _SURVEYED["layer_norm"]


def test_group_norms_lose_the_same_positions_of_every_group(wrapped: Wrap) -> None:
    layers = (nn.Conv2d(3, 12, 1), nn.GroupNorm(3, 12), nn.ReLU(), nn.Conv2d(12, 2, 1))
    model = wrapped(nn.Sequential(*layers))
    found = graph.find_groups(model)
    (group,) = found.prunable
    assert (group.channels, group.parts, group.whole, group.unit, group.units) == (
        12,
        3,
        False,
        3,
        4,
    )
    assert group.of_unit(1) == [1, 5, 9]
    graph.remove_(found.module, found.groups, {group.name: {1, 3}})
    left = [0, 2, 4, 6, 8, 10]
    conv, norm, head = layers[0], layers[1], layers[3]
    images = torch.randn(2, 3, 4, 4)
    with torch.inference_mode():
        x = functional.conv2d(images, conv.weight[left], conv.bias[left])  # type: ignore[index, arg-type]
        x = functional.group_norm(x, 3, norm.weight[left], norm.bias[left])  # type: ignore[index, arg-type]
        expected = functional.conv2d(torch.relu(x), head.weight[:, left], head.bias)  # type: ignore[index, arg-type]
        torch.testing.assert_close(found.module(images), expected, rtol=1e-5, atol=1e-5)


def test_frozen_weights_stay_frozen(residual: Model) -> None:
    residual.module.stem.weight.requires_grad = False  # type: ignore[union-attr, assignment]
    residual.module.head.requires_grad_(requires_grad=False)  # type: ignore[union-attr, operator]
    found = graph.find_groups(residual)
    before = {name: p.requires_grad for name, p in residual.module.named_parameters()}
    assert {name: p.requires_grad for name, p in found.module.named_parameters()} == before
    graph.remove_(found.module, found.groups, {"outer": {0}, "inner": {1}})
    assert found.module.head.weight.shape == (5, 7)  # type: ignore[union-attr]
    assert {name: p.requires_grad for name, p in found.module.named_parameters()} == before


def test_the_survey_leaves_the_model_alone(residual: Model) -> None:
    residual.module.train()
    before = {key: value.clone() for key, value in residual.module.state_dict().items()}
    found = graph.find_groups(residual)
    graph.remove_(found.module, found.groups, {"outer": {0, 3}})
    assert residual.module.training
    assert all(torch.equal(before[k], v) for k, v in residual.module.state_dict().items())
    assert all(p.grad is None for p in residual.module.parameters())
    assert not any(part._forward_hooks for part in found.module.modules())


def test_every_group_is_there_with_the_reason_why_it_stays(residual: Model) -> None:
    found = graph.find_groups(residual, keep=["head"])
    assert {g.name: (g.channels, g.kept) for g in found.groups} == {
        "outer": (8, "kept by the recipe ('head')"),  # head reads it
        "inner": (6, None),
        "head": (5, "makes the model's output"),
    }
    by_class = graph.find_groups(residual, keep=["BatchNorm2d"])
    assert [g.name for g in by_class.prunable] == ["inner"]
    everything = graph.find_groups(residual, keep=["*"])
    assert everything.prunable == ()


def test_keep_takes_what_lies_below_a_module() -> None:
    model, _ = surveyed("resnet8")
    found = graph.find_groups(model, keep=["stages.1"])
    kept = {group.name for group in found.groups if group.kept and group.name != "fc"}
    assert kept == {"conv1", "stages.1.0.conv1", "stages.1.0.shortcut.0"}


@pytest.mark.parametrize(
    ("pattern", "nearest", "near"),
    [
        ("inne", "; did you mean 'inner'?", "inner, Linear"),
        ("Conv3d", "; did you mean 'Conv2d'?", "Conv2d"),
        ("stem.*", "; did you mean 'stem'?", "stem, outer"),
    ],
)
def test_a_pattern_that_matches_nothing_is_an_error(
    residual: Model, pattern: str, nearest: str, near: str
) -> None:
    with pytest.raises(InputError) as caught:
        graph.find_groups(residual, keep=[pattern])
    assert str(caught.value) == (
        f"keep: '{pattern}' matches no layer{nearest}\n"
        "  a pattern is a module path (features.0*) or a class name (Conv2d); nearest: "
        f"{near}"
    )


def test_a_single_channel_stays(wrapped: Wrap) -> None:
    layers = (
        nn.Conv2d(3, 1, 1),
        nn.Conv2d(1, 4, 1),
        nn.Conv2d(4, 4, 1, groups=2),
        nn.Conv2d(4, 2, 1),
    )
    found = graph.find_groups(wrapped(nn.Sequential(*layers)))
    assert {g.name: g.kept for g in found.groups} == {
        "0": "has a single channel",
        "1": None,
        "2": None,
        "3": "makes the model's output",
    }
    layers = (nn.Conv2d(3, 4, 1), nn.GroupNorm(4, 4), nn.Conv2d(4, 2, 1))
    found = graph.find_groups(wrapped(nn.Sequential(*layers)))
    assert found.groups[0].kept == "has one channel per part"


def test_layers_that_never_run_are_named(wrapped: Wrap) -> None:
    class Spare(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
            self.spare = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self[1](self[0](x))  # type: ignore[no-any-return]

    found = graph.find_groups(wrapped(Spare()))
    assert found.unreached == ("spare",)
    assert [g.name for g in found.groups] == ["0", "1"]


def test_a_model_that_cannot_run_is_an_error_that_names_the_layer(wrapped: Wrap) -> None:
    model = wrapped(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.Conv2d(5, 4, 1))))
    with pytest.raises(SqueezeError) as caught:
        graph.find_groups(model)
    assert str(caught.value).startswith(
        "1.0 (Conv2d): torch.export cannot export this model: RuntimeError: Given groups=1, weight "
        "of size [4, 5, 1, 1], expected input[1, 4, 8, 8] to have 5 channels"
    )


def test_narrowed_has_the_widths_asked_for(residual: Model) -> None:
    found = graph.find_groups(residual)
    narrow = graph.narrowed(residual, found, {"outer": 3})
    assert narrow.module.stem.weight.shape == (3, 3, 3, 3)  # type: ignore[union-attr]
    assert narrow.module.inner.weight.shape == (6, 3, 3, 3)  # type: ignore[union-attr]
    assert found.module.stem.weight.shape == (8, 3, 3, 3)  # type: ignore[union-attr]
    assert graph.narrowed(residual, found, {}).module.outer.weight.shape == (8, 6, 1, 1)  # type: ignore[union-attr]
