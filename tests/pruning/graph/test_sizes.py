"""Sizes in the code of a forward function follow the channels that are left."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.pruned import found_in, model_of, removal_is_silence, widths
from torch import Tensor, nn
from torch.nn import functional

from squeeze.core.errors import InputError
from squeeze.models import bundle, written_sizes
from squeeze.models.blocks import build
from squeeze.pruning.graph import find_groups
from squeeze.pruning.step import prune
from squeeze.quantization.recovery.graph import folded
from squeeze.recipe.schema import InputSpec, ModelBlock, PruneStep
from squeeze.runtimes.base import Execution
from squeeze.runtimes.onnxruntime import export as onnx
from squeeze.runtimes.runtime import load as load_runtime

HALF = PruneStep(pruning_ratio=0.5, align=1)


class Attention(nn.Module):
    """Self attention as most write it: widths from the input, from attributes, and by hand."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        x = self.qkv(x).reshape(n, tokens, 3, self.heads, width // self.heads)
        q, k, v = x.permute(2, 0, 3, 1, 4).unbind(0)
        x = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(n, tokens, width))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.attention = nn.Conv2d(3, 32, 2, 2), Attention()
        self.inner, self.head = nn.Linear(32, 48), nn.Linear(48, 3)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        x = x + self.drop(self.attention(x))
        return self.head(torch.relu(self.inner(x)).mean(1))  # type: ignore[no-any-return]


class Split(nn.Module):
    """Pieces, ranges and a flattened map, all of them by number."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces = [6, 10, 8]
        self.a, self.b, self.c = nn.Conv2d(3, 24, 3), nn.Conv2d(6, 10, 1), nn.Conv2d(10, 8, 1)
        self.d, self.e = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.inner, self.head = nn.Linear(32, 12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x, y, z = self.parts(torch.relu(self.a(x)))
        z = torch.relu(self.d(z + self.c(y + self.b(x))))
        z = torch.cat((z[:, :3], self.e(z)[..., -5:, :, :]), 1)
        z = functional.adaptive_avg_pool2d(z, 2).view(-1, 32)
        return self.head(torch.relu(self.inner(z)))  # type: ignore[no-any-return]

    def parts(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.split(self.pieces, 1)


class Narrowed(Split):
    def parts(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.narrow(1, 0, 6), torch.narrow(x, 1, 6, 10), x[:, 16:]


class Evenly(Split):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 24, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)

    def parts(self, x: Tensor) -> tuple[Tensor, ...]:
        x = torch.unflatten(x, 1, (3, 8)).flatten(1, 2).expand(-1, 24, -1, -1)
        return torch.split(x, 8, dim=1)


NETWORKS = {kind.__name__: kind for kind in (Transformer, Split, Narrowed, Evenly)}


@pytest.mark.parametrize("name", list(NETWORKS))
def test_everything_but_the_output_can_go(name: str) -> None:
    found = found_in(NETWORKS[name]())
    assert [group.name for group in found.groups if group.kept] == ["head"]
    removal_is_silence(found)


def test_whole_heads_of_a_layer_that_makes_all_three() -> None:
    found = found_in(Transformer(), whole_heads=True)
    assert widths(found)["attention.qkv"] == (96, 24)
    assert {group.name: group.units for group in found.prunable}["attention.qkv"] == 4
    removal_is_silence(found)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_pruned_model_is_pruned_again_trained_exported_and_loaded(
    name: str, tmp_path: Path
) -> None:
    source = Path(__file__).read_text(encoding="utf-8").partition("\nNETWORKS =")[0]
    (tmp_path / "net.py").write_text(source, encoding="utf-8")
    spec = InputSpec(shape=(3, 8, 8))
    model = build(ModelBlock(build=f"./net.py:{name}", input=spec), tmp_path)
    images = torch.randn(2, 3, 8, 8)
    for _ in range(2):
        before = sum(p.numel() for p in model.module.parameters())
        model = prune(model, HALF, seed=0)
        assert sum(p.numel() for p in model.module.parameters()) < 0.7 * before
        module = model.module.train()
        module(images).sum().backward()
        assert all(p.grad is not None for p in module.parameters())
        module.eval()
    assert list(written_sizes.holders(model.module))
    with torch.no_grad():
        expected = model.module(images)
    onnx.export(model, tmp_path / "pruned.onnx")
    session = load_runtime("onnxruntime").open_session(tmp_path / "pruned.onnx", Execution())
    several = torch.cat((images, images, images))
    found = session.invoke(session.prepare(several.numpy()))
    np.testing.assert_allclose(found, torch.cat([expected] * 3).numpy(), atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(folded(model.module)(images), expected)
    folder = bundle.save(model, tmp_path / "bundle")
    loaded = bundle.load(folder, build=f"{tmp_path}/net.py:{name}")
    with torch.no_grad():
        assert torch.equal(loaded.module(images), expected)


def test_a_bundle_does_not_fit_code_that_was_changed(tmp_path: Path) -> None:
    source = Path(__file__).read_text(encoding="utf-8").partition("\nNETWORKS =")[0]
    (tmp_path / "net.py").write_text(source, encoding="utf-8")
    spec = InputSpec(shape=(3, 8, 8))
    model = build(ModelBlock(build="./net.py:Transformer", input=spec), tmp_path)
    folder = bundle.save(prune(model, HALF, seed=0), tmp_path / "bundle")
    changed = source.replace(
        "x = self.stem(x).flatten(2)", "x = self.stem(x) * 1\n        x = x.flatten(2)"
    )
    moved = source.replace("class Attention", "# more\n\nclass Attention")
    other = source.replace("q, k, v = x.permute", "\n        q, k, v = x.permute")
    for name, text in {"changed": changed, "moved": moved, "other": other}.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    for name in ("changed", "moved"):
        bundle.load(folder, build=f"{tmp_path}/{name}.py:Transformer")
    with pytest.raises(InputError, match=r"no longer makes the call forward:\d#1"):
        bundle.load(folder, build=f"{tmp_path}/other.py:Transformer")


def test_a_size_that_is_read_again_needs_no_correction() -> None:
    class Read(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)
            n, c, h, w = x.shape
            return self.b(x.view(n, c, h * w).reshape(n, c, h, w))  # type: ignore[no-any-return]

    model = model_of(Read())
    assert not any(group.sizes for group in find_groups(model).groups)
    assert not list(written_sizes.holders(prune(model, HALF, seed=0).module))
