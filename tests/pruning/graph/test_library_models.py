"""Networks of libraries as they are: all but their outputs goes, and removal is silence."""

from collections.abc import Callable

import pytest
import timm
import torch
from support.pruned import found_in, removal_is_silence
from torch import nn
from torchvision.models.maxvit import RelativePositionalMultiHeadAttention
from torchvision.models.swin_transformer import (
    PatchMergingV2,
    ShiftedWindowAttention,
    SwinTransformer,
)

from squeeze.pruning.graph import OUTPUT

Shape = tuple[int, int, int]


def timm_model(name: str, **options: object) -> nn.Module:
    return timm.create_model(name, num_classes=5, **options)


def swin(**options: object) -> nn.Module:
    return SwinTransformer([2, 2], 16, [2, 2], [2, 4], [3, 3], num_classes=5, **options)


def tokens(layer: nn.Module, width: int = 16) -> nn.Module:
    """Tokens ``(N, height, width, C)`` of an image, a layer on them, and a head."""

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.layer = nn.Conv2d(3, width, 3, 1, 1), layer
            self.head = nn.LazyLinear(5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.layer(self.stem(x).permute(0, 2, 3, 1))
            return self.head(x.mean((1, 2)))  # type: ignore[no-any-return]

    module = Tokens().eval()
    module(torch.zeros(1, 3, 9, 9))
    return module


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Shape]] = {
    # 52 px: maps of 13 and 7 tokens, padded to whole windows of 3, merged from an odd side
    "swin": (swin, (3, 52, 52)),
    "swin's attention": (
        lambda: tokens(ShiftedWindowAttention(16, [3, 3], [1, 1], 4)),
        (3, 9, 9),
    ),
    "merged patches": (lambda: tokens(PatchMergingV2(16)), (3, 9, 9)),
    "relative attention": (
        lambda: tokens(RelativePositionalMultiHeadAttention(16, 4, 9)),
        (3, 9, 9),
    ),
    "deit": (
        lambda: timm_model(
            "deit_tiny_patch16_224", img_size=32, embed_dim=32, num_heads=4, depth=2
        ),
        (3, 32, 32),
    ),
    "fastvit": (
        lambda: timm_model("fastvit_sa12", layers=(1, 1, 1, 1), embed_dims=(32, 32, 64, 64)),
        (3, 64, 64),
    ),
    "res2net": (lambda: timm_model("res2net50_26w_4s", layers=(1, 2, 1, 1)), (3, 32, 32)),
    "resnest": (lambda: timm_model("resnest14d", layers=(1, 1, 1, 1)), (3, 64, 64)),
    "parts of two kinds": (
        lambda: timm_model("resnest50d_4s2x40d", layers=(1, 1, 1, 1)),
        (3, 64, 64),
    ),
}


@pytest.mark.parametrize("name", list(NETWORKS))
def test_everything_but_the_output_can_go(name: str) -> None:
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    module = build()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 0 or parameter.abs().max() < 1e-4:
                parameter.uniform_(-0.2, 0.2)
    found = found_in(module, shape)
    assert {group.kept for group in found.groups} == {None, OUTPUT}
    assert found.adapters == ()
    removal_is_silence(found, shape, seeds=1)


def test_heads_of_swin_go_whole() -> None:
    torch.manual_seed(0)
    found = found_in(swin(), (3, 52, 52), whole_heads=True)
    units = {group.name: group.units for group in found.prunable if group.name.endswith("attn.qkv")}
    assert sorted(units.values()) == [2, 2, 4, 4]
    removal_is_silence(found, (3, 52, 52), seeds=1)
