"""Attention loses whole heads, or the same dimensions of every head."""

from pathlib import Path

import pytest
import torch

from squeeze import load_bundle
from squeeze.models import bundle
from squeeze.models.blocks import build
from squeeze.models.types import Model
from squeeze.pruning.graph import find_groups
from squeeze.pruning.groups import ChannelGroup
from squeeze.pruning.step import prune
from squeeze.recipe.schema import InputSpec, ModelBlock, PruneStep

SMALL = {
    "image_size": 16,
    "patch_size": 4,
    "num_layers": 1,
    "num_heads": 4,
    "hidden_dim": 32,
    "mlp_dim": 64,
    "num_classes": 5,
}


@pytest.fixture
def vit() -> Model:
    torch.manual_seed(0)
    block = ModelBlock(
        build="torchvision.models.vision_transformer:VisionTransformer",
        args=SMALL,
        input=InputSpec(shape=(3, 16, 16)),
    )
    return build(block, Path())


def inner_group(model: Model) -> ChannelGroup:
    (found,) = (
        group
        for group in find_groups(model, whole_heads=True).groups
        if any(
            dependency.path.endswith(".q") and dependency.is_out
            for dependency in group.dependencies
        )
    )
    return found


@pytest.mark.parametrize(
    ("attention", "removed"), [("heads", [0, 0, 8, 8]), ("dimensions", [4, 4, 4, 4])]
)
def test_half_of_the_inner_width_goes(
    vit: Model, tmp_path: Path, attention: str, removed: list[int]
) -> None:
    inner = inner_group(vit).name
    step = PruneStep.model_validate({"ratios": {inner: 0.5}, "align": 1, "attention": attention})
    pruned = prune(vit, step, seed=0)
    (done,) = pruned.architecture.pruning
    heads = [channel // 8 for channel in done.removed[inner]]
    assert sorted(heads.count(head) for head in range(4)) == removed
    images = torch.randn(2, 3, 16, 16)
    folder = bundle.save(pruned, tmp_path / "bundle")
    again = load_bundle(folder, allow_code=vit.architecture.build)
    assert torch.equal(again(images), pruned.module(images))


def test_the_heads_that_say_least_go(vit: Model) -> None:
    adapted = prune(vit, PruneStep(pruning_ratio=0.0), seed=0)
    assert adapted.architecture.pruning == ()
    group = inner_group(vit)
    assert (group.units, group.unit) == (4, 8)
    layer = vit.module.get_submodule(group.name.rpartition(".")[0])
    width = 32
    with torch.no_grad():  # silence heads 1 and 3 in queries, keys, values and the output
        for head in (1, 3):
            for part in range(3):
                start = part * width + head * 8
                layer.in_proj_weight[start : start + 8] *= 0.01  # type: ignore[index, operator, union-attr]
            layer.out_proj.weight[:, head * 8 : head * 8 + 8] *= 0.01  # type: ignore[index, operator, union-attr]
    step = PruneStep.model_validate({"ratios": {group.name: 0.5}, "align": 1, "attention": "heads"})
    (done,) = prune(vit, step, seed=0).architecture.pruning
    assert done.removed[group.name] == (*range(8, 16), *range(24, 32))
