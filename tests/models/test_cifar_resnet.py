"""The thin ResNets: parameters as in the paper, shortcuts without any, streams on their own."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from squeeze.core.errors import InputError
from squeeze.core.types import Silent
from squeeze.models import bundle, cifar_resnet
from squeeze.models.blocks import build
from squeeze.models.types import Architecture, Model
from squeeze.pruning.graph import find_groups, remove_
from squeeze.pruning.step import PruneContext
from squeeze.pruning.step import run as run_prune
from squeeze.recipe.schema import InputSpec, ModelBlock, PruneStep
from squeeze.tasks.classification import task as classification


def test_padded_shortcuts_have_the_parameters_of_the_paper() -> None:
    """Table 6 of the paper: 0.27 million for 20 layers, 0.85 million for 56."""
    for factory, millions in ((cifar_resnet.resnet20, 0.27), (cifar_resnet.resnet56, 0.85)):
        module = factory(shortcut="padded")
        count = sum(p.numel() for p in module.parameters())
        assert round(count / 1e6, 2) == millions


def test_a_padded_shortcut_subsamples_and_adds_zeros() -> None:
    x = torch.randn(2, 3, 5, 4)
    out = cifar_resnet.PaddedShortcut(3, 7, 2, "behind")(x)
    assert torch.equal(out[:, :3], x[:, :, ::2, ::2])
    assert torch.equal(out[:, 3:], torch.zeros(2, 4, 3, 2))
    both = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
    assert torch.equal(cifar_resnet.PaddedShortcut(3, 7, 2, "both_sides")(x), both)


class PublicBlock(nn.Module):
    """The block of the option-A ResNets whose CIFAR-10 weights most people use."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.pads = stride != 1 or width_in != width
        self.width = width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        if self.pads:
            new = self.width // 4
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, new, new), "constant", 0)
        return functional.relu(out + x)


class PublicResNet(nn.Module):
    """Called as theirs: ``layer1`` to ``layer3`` and ``linear``."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        widths = (16, 16, 32, 64)
        for number in (1, 2, 3):
            first = PublicBlock(widths[number - 1], widths[number], min(number, 2))
            rest = [PublicBlock(widths[number], widths[number], 1) for _ in range(blocks - 1)]
            setattr(self, f"layer{number}", nn.Sequential(first, *rest))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        for number in (1, 2, 3):
            x = getattr(self, f"layer{number}")(x)
        return self.linear(functional.avg_pool2d(x, x.shape[3]).flatten(1))


@pytest.mark.parametrize(("name", "blocks"), [("resnet8", 1), ("resnet20", 3), ("resnet56", 9)])
def test_public_weights_of_option_a_give_the_public_networks_outputs(
    name: str, blocks: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    public = PublicResNet(blocks)
    with torch.no_grad():  # so that batch norms have seen something
        public(torch.randn(32, 3, 16, 16))
    public.eval()
    saved = {f"module.{key}": value for key, value in public.state_dict().items()}
    torch.save({"state_dict": saved}, tmp_path / "public.th")
    block = ModelBlock(
        build=f"builtin:{name}",
        args={"shortcut": "padded"},
        weights="public.th",
        input=InputSpec(shape=(3, 16, 16)),
    )
    images = torch.randn(4, 3, 16, 16)
    with torch.inference_mode():
        expected, found = public(images), build(block, tmp_path).module(images)
    assert torch.allclose(found, expected, atol=1e-5)
    behind = block.model_copy(update={"args": {"shortcut": "padded", "padding": "behind"}})
    with torch.inference_mode():
        assert not torch.allclose(build(behind, tmp_path).module(images), expected, atol=0.01)


def test_projections_called_as_torchvisions_are_taken(tmp_path: Path) -> None:
    own = cifar_resnet.resnet20().state_dict()
    names = {"stages.0.": "layer1.", "stages.1.": "layer2.", "stages.2.": "layer3."}
    theirs = {}
    for key, value in own.items():
        name = key.replace(".shortcut.", ".downsample.")
        for mine, other in names.items():
            name = name.replace(mine, other) if name.startswith(mine) else name
        theirs[name] = value
    torch.save(theirs, tmp_path / "public.pt")
    block = ModelBlock(
        build="builtin:resnet20", weights="public.pt", input=InputSpec(shape=(3, 8, 8))
    )
    loaded = build(block, tmp_path).module.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in own.items())


def test_a_bundle_pruned_on_both_sides_of_a_padded_shortcut_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = InputSpec(shape=(3, 8, 8))
    model = build(
        ModelBlock(build="builtin:resnet8", args={"shortcut": "padded"}, input=spec), tmp_path
    )
    around = PruneContext(0, None, classification, Silent())
    pruned = run_prune(model, PruneStep(pruning_ratio=0.5), around).model
    bundle.save(pruned, tmp_path / "bundle")
    images = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        expected = pruned.module.eval()(images)
        assert torch.equal(bundle.load(tmp_path / "bundle").module(images), expected)
    stored = load_file(tmp_path / "bundle" / bundle.WEIGHTS)
    assert not [key for key in stored if "shortcut" in key]


def test_an_unknown_shortcut_is_refused(tmp_path: Path) -> None:
    block = ModelBlock(
        build="builtin:resnet8", args={"shortcut": "none"}, input=InputSpec(shape=(3, 8, 8))
    )
    with pytest.raises(InputError, match="allowed: projection, padded"):
        build(block, tmp_path)
    for args, what in (
        ({"shortcut": "padded", "padding": "front"}, "allowed: both_sides, behind"),
        ({"padding": "behind"}, "padding has no effect without shortcut: padded"),
    ):
        with pytest.raises(InputError, match=what):
            build(block.model_copy(update={"args": args}), tmp_path)


def test_the_streams_on_both_sides_of_a_padded_shortcut_prune_alone() -> None:
    torch.manual_seed(0)
    module = cifar_resnet.resnet8(shortcut="padded", padding="behind").eval()
    images = torch.randn(2, 3, 16, 16)
    spec = InputSpec(shape=(3, 16, 16))
    found = find_groups(Model(module, Architecture("test:x", Path(), {}, spec)))
    module = found.module

    def remove(layer: str, channels: set[int]) -> None:
        (name,) = (
            group.name
            for group in found.groups
            if any(own.path == layer and own.is_out for own in group.dependencies)
        )
        remove_(module, found.groups, {name: channels})

    first, second, third = module.stages  # type: ignore[union-attr, misc]
    remove("stages.0.0.conv2", {0, 5})
    widths = [stage[0].conv2.out_channels for stage in (first, second, third)]
    assert widths == [14, 32, 64]
    assert second[0].shortcut.pad.source.tolist() == [
        -1, 0, 1, 2, 3, -1, *range(4, 14), *[-1] * 16
    ]  # fmt: skip
    remove("stages.1.0.conv2", {0, 1, 31})
    widths = [stage[0].conv2.out_channels for stage in (first, second, third)]
    assert widths == [14, 29, 64]
    assert second[0].shortcut.pad.source.tolist() == [1, 2, 3, -1, *range(4, 14), *[-1] * 15]
    assert module(images).shape == (2, 10)
