"""Bundles: bit-identical in a new process, trainable, no pickle, no code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import squeeze
from squeeze.core.errors import InputError, SqueezeError
from squeeze.models import bundle
from squeeze.models.blocks import build
from squeeze.models.types import Model, PruningRound
from squeeze.pruning.step import prune
from squeeze.recipe.schema import InputSpec, ModelBlock, PruneStep


def model(name: str, side: int, channels: int, **args: int) -> Model:
    torch.manual_seed(1)
    spec = InputSpec(shape=(channels, side, side))
    return build(ModelBlock(build=name, args=args, input=spec), Path())


def outputs_in_a_new_process(folder: Path, images: torch.Tensor, tmp_path: Path) -> torch.Tensor:
    torch.save(images, tmp_path / "images.pt")
    code = (
        "import sys, torch, squeeze\n"
        "module = squeeze.load_bundle(sys.argv[1])\n"
        "images = torch.load(sys.argv[2] + '/images.pt')\n"
        "torch.set_num_threads(1)\n"
        "with torch.inference_mode():\n"
        "    torch.save(module(images), sys.argv[2] + '/outputs.pt')\n"
    )
    subprocess.run([sys.executable, "-c", code, str(folder), str(tmp_path)], check=True)
    return torch.load(tmp_path / "outputs.pt")


@pytest.mark.parametrize(
    ("name", "side", "channels"),
    [
        ("builtin:resnet8", 12, 1),
        pytest.param("torchvision:mobilenet_v2", 64, 3, marks=pytest.mark.slow),
    ],
)
def test_a_model_pruned_twice_reloads_bit_identical_and_trains(
    name: str, side: int, channels: int, tmp_path: Path
) -> None:
    args = {"in_channels": 1} if channels == 1 else {"num_classes": 10}
    once = prune(model(name, side, channels, **args), PruneStep(pruning_ratio=0.3, align=1), seed=0)
    twice = prune(once, PruneStep(pruning_ratio=0.3, align=4, importance="random"), seed=0)
    assert len(twice.architecture.pruning) > len(once.architecture.pruning)
    folder = bundle.save(twice, tmp_path / "bundle")
    names = {"architecture.json", "weights.safetensors", "SHA256SUMS"}
    assert {file.name for file in folder.iterdir()} == names

    images = torch.randn(3, channels, side, side)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # in both processes: the order of sums depends on it
    with torch.inference_mode():
        expected = twice.module(images)
    torch.set_num_threads(threads)
    assert torch.equal(outputs_in_a_new_process(folder, images, tmp_path), expected)

    module = squeeze.load_bundle(folder).train()
    before = [p.detach().clone() for p in module.parameters()]
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    torch.nn.functional.cross_entropy(module(images), torch.tensor([1, 2, 3])).backward()
    optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


def test_a_factory_in_a_file_is_found_again_or_named(tmp_path: Path) -> None:
    code = "from torch import nn\ndef make():\n    return nn.Sequential(nn.Conv2d(1, 4, 1))\n"
    (tmp_path / "net.py").write_text(code)
    spec = InputSpec(shape=(1, 8, 8))
    made = build(ModelBlock(build="./net.py:make", input=spec), tmp_path)
    folder = bundle.save(made, tmp_path / "deep" / "bundle")
    images = torch.randn(1, 1, 8, 8)
    loaded = squeeze.load_bundle(folder, allow_code=f"{tmp_path}/net.py:make")
    assert torch.equal(loaded(images), made.module(images))

    moved = tmp_path / "elsewhere.py"
    (tmp_path / "net.py").rename(moved)
    with pytest.raises(InputError, match="is not where it was"):
        squeeze.load_bundle(folder)
    loaded = squeeze.load_bundle(folder, build=f"{moved}:make")
    assert torch.equal(loaded(images), made.module(images))


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"architecture\.json is missing"):
        squeeze.load_bundle(tmp_path)
    folder = bundle.save(model("builtin:resnet8", 12, 1, in_channels=1), tmp_path / "bundle")
    (folder / "architecture.json").write_text("{}")
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(InputError, match=r"architecture\.json: is damaged: .*'build' is missing"):
        squeeze.load_bundle(folder)


def test_a_bundle_is_never_overwritten(tmp_path: Path) -> None:
    made = model("builtin:resnet8", 12, 1, in_channels=1)
    bundle.save(made, tmp_path / "bundle")
    with pytest.raises(InputError, match="exists already"):
        bundle.save(made, tmp_path / "bundle")


def test_a_trained_module_is_saved_like_the_bundle_it_came_from(tmp_path: Path) -> None:
    first = prune(
        model("builtin:resnet8", 12, 1, in_channels=1), PruneStep(pruning_ratio=0.5), seed=0
    )
    bundle.save(first, tmp_path / "first")
    module = squeeze.load_bundle(tmp_path / "first")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    squeeze.save_bundle(module, tmp_path / "second", like=tmp_path / "first")
    images = torch.randn(2, 1, 12, 12)
    assert torch.equal(squeeze.load_bundle(tmp_path / "second")(images), module(images))
    with pytest.raises(InputError, match="shapes differ"):
        squeeze.save_bundle(
            model("builtin:resnet8", 12, 1, in_channels=1).module,
            tmp_path / "third",
            like=tmp_path / "first",
        )


def test_prune_train_prune_save_load_is_bit_equal_and_keeps_its_history(tmp_path: Path) -> None:
    first = prune(
        model("builtin:resnet8", 12, 1, in_channels=1),
        PruneStep(pruning_ratio=0.4, align=1, importance="l1"),
        seed=0,
    )
    optimizer = torch.optim.SGD(first.module.train().parameters(), lr=0.1)
    images = torch.randn(8, 1, 12, 12)
    loss = nn.functional.cross_entropy(first.module(images), torch.arange(8))
    loss.backward()
    optimizer.step()
    second = prune(first, PruneStep(pruning_ratio=0.5, align=1), seed=0)
    folder = bundle.save(second, tmp_path / "bundle")
    loaded = bundle.load(folder)
    assert loaded.architecture.pruning == second.architecture.pruning
    assert [done.importance for done in loaded.architecture.pruning] == ["l1", "l2"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        expected = second.module(images)
    torch.set_num_threads(threads)
    assert torch.equal(outputs_in_a_new_process(folder, images, tmp_path), expected)
    third = prune(loaded, PruneStep(pruning_ratio=0.3, align=1), seed=0)
    assert len(third.architecture.pruning) == 3
    assert torch.isfinite(third.module(images)).all()


NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 6, 1)
        self.second = nn.Conv2d(6, 3, 1)
        self.pair = ((6, 1), 2)
        self.table = {{"width": 6}}
        {extra}

    def forward(self, x):
        x = self.first(x)
        assert isinstance(self.pair, tuple) and isinstance(self.pair[0], tuple)
        x = x.reshape(len(x), {width}, *x.shape[2:]) * self.pair[1]
        return self.second(x).mean((2, 3))

def make():
    return Net()
"""


def pruned_by_hand(tmp_path: Path, width: str) -> Model:
    """Return a model of a file that lost two channels, and knows it in all its attributes."""
    (tmp_path / "net.py").write_text(NET.format(width=width, extra=""))
    made = build(
        ModelBlock(build="./net.py:make", input=InputSpec(shape=(1, 4, 4))), tmp_path
    ).copy()
    net = made.module
    net.first.weight = nn.Parameter(net.first.weight[:4].detach())  # type: ignore[union-attr, index]
    net.first.bias = nn.Parameter(net.first.bias[:4].detach())  # type: ignore[union-attr, index]
    net.second.weight = nn.Parameter(net.second.weight[:, :4].detach())  # type: ignore[union-attr, index]
    net.first.out_channels = net.second.in_channels = 4  # type: ignore[union-attr, assignment]
    net.pair = ((4, 1), 3)  # type: ignore[assignment]
    net.table = {"width": 4}  # type: ignore[assignment]
    return made.pruned(net, PruningRound(importance="hand", removed={"first": (4, 5)}))


def test_attributes_come_back_with_nested_tuples(tmp_path: Path) -> None:
    made = pruned_by_hand(tmp_path, "self.pair[0][0]")
    folder = bundle.save(made, tmp_path / "bundle")
    record = json.loads((folder / "architecture.json").read_text())
    assert record["attributes"] == {
        "": {"pair": [[4, 1], 3]},
        "first": {"out_channels": 4},
        "second": {"in_channels": 4},
    }
    images = torch.randn(2, 1, 4, 4)
    loaded = squeeze.load_bundle(folder, allow_code=[f"{tmp_path}/net.py:make"])
    assert torch.equal(loaded(images), made.module(images))


def test_widths_in_something_else_are_refused_on_saving(tmp_path: Path) -> None:
    made = pruned_by_hand(tmp_path, "self.table['width']")
    with pytest.raises(SqueezeError) as caught:
        bundle.save(made, tmp_path / "bundle")
    assert str(caught.value) == (
        "./net.py:make: the pruned model cannot be built again from its factory, plain attributes "
        "and tensors\n  a layer keeps widths in something else; please report the architecture"
    )
    assert not (tmp_path / "bundle").exists()


def test_a_factory_that_has_changed_since_is_an_error(tmp_path: Path) -> None:
    folder = bundle.save(pruned_by_hand(tmp_path, "self.pair[0][0]"), tmp_path / "bundle")
    (tmp_path / "newer.py").write_text(
        NET.format(width="self.pair[0][0]", extra="self.third = nn.Linear(3, 3)")
    )
    with pytest.raises(InputError, match=r"2 keys missing in the file: third.weight, third.bias"):
        squeeze.load_bundle(folder, build=f"{tmp_path}/newer.py:make")
    (tmp_path / "renamed.py").write_text(
        NET.format(width="self.pair[0][0]", extra="").replace("self.first", "self.start")
    )
    with pytest.raises(InputError) as caught:
        squeeze.load_bundle(folder, build=f"{tmp_path}/renamed.py:make")
    assert str(caught.value) == (
        f"{folder}: its record names 'first', which the model does not have\n"
        "  the factory has changed since the bundle was saved"
    )


@pytest.mark.parametrize("name", ["weights.safetensors", "architecture.json"])
def test_a_bundle_with_a_flipped_bit_is_refused_and_the_file_named(
    tmp_path: Path, name: str
) -> None:
    folder = bundle.save(model("builtin:resnet8", 12, 1, in_channels=1), tmp_path / "bundle")
    content = bytearray((folder / name).read_bytes())
    content[-40] ^= 0x40
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} is damaged or was changed") as raised:
        squeeze.load_bundle(folder)
    assert raised.value.where == str(folder)
    (folder / "SHA256SUMS").write_text("nothing\n")
    with pytest.raises(InputError, match="SHA256SUMS: is damaged"):
        squeeze.load_bundle(folder)


def test_a_bundle_without_sums_is_loaded_as_before(tmp_path: Path) -> None:
    folder = bundle.save(model("builtin:resnet8", 12, 1, in_channels=1), tmp_path / "bundle")
    (folder / "SHA256SUMS").unlink()
    assert isinstance(squeeze.load_bundle(folder), nn.Module)


@pytest.mark.parametrize("build", ["", ":", ":make", "make", "x y:make", "./net.py:", ".a:make"])
def test_a_bundle_whose_factory_is_no_name_is_refused(tmp_path: Path, build: str) -> None:
    folder = bundle.save(model("builtin:resnet8", 12, 1, in_channels=1), tmp_path / "bundle")
    (folder / "SHA256SUMS").unlink()
    record = json.loads((folder / "architecture.json").read_text())
    (folder / "architecture.json").write_text(json.dumps(record | {"build": build}))
    with pytest.raises(InputError) as raised:
        squeeze.load_bundle(folder)
    assert (build or str(folder)) in str(raised.value)
