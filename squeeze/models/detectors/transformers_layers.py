"""Layers that take the place of transformers' own: pruning, int8 and LiteRT know these."""

from inspect import signature
from typing import TYPE_CHECKING

import torch  # noqa: TID253  (a model's file is imported only to build the model)
from torch import nn  # noqa: TID253

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class StillBatchNorm(nn.BatchNorm2d):
    """A batch norm that keeps its statistics and is not trained, as DETR's backbones have it.

    Unlike the classes in transformers it is one that pruning and quantization know.
    """

    def train(self, mode: bool = True) -> "StillBatchNorm":  # noqa: FBT001, FBT002  (torch's)
        """Stay in eval mode."""
        del mode
        return super().train(mode=False)


class _Once:
    """Keeps what depends on sizes only, so that an exporter finds a constant."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Tensor] = {}

    def of(self, key: tuple[object, ...], make: "Callable[[], Tensor]") -> "Tensor":
        """Return what is known, or make it; not while a model is exported, which has no values."""
        if key not in self._known:
            if torch.compiler.is_exporting():
                return make()
            with torch.inference_mode(mode=False), torch.no_grad():
                self._known[key] = make().clone()
        return self._known[key]


class Positions(nn.Module):
    """RT-DETR's position embeddings, computed once per size.

    Their formula takes powers of float64 numbers, which LiteRT's converter refuses.
    """

    def __init__(self, formula: nn.Module) -> None:
        super().__init__()
        self.formula = formula
        self._once = _Once()

    def forward(
        self, width: int, height: int, device: "torch.device | str", dtype: torch.dtype
    ) -> "Tensor":
        """Return embeddings ``(1, height * width, channels)``."""
        key = (int(width), int(height), str(device), dtype)
        return self._once.of(key, lambda: self.formula(width, height, device, dtype))


class MapPositions(nn.Module):
    """DETR's sine embeddings of a feature map without padding, computed once per size.

    In the graph they would be counted up and divided for every batch, in int8 by zero.
    """

    def __init__(self, formula: nn.Module) -> None:
        super().__init__()
        self.formula = formula
        self._once = _Once()

    def forward(
        self,
        shape: torch.Size,
        device: "torch.device | str",
        dtype: torch.dtype,
        mask: "Tensor | None" = None,
    ) -> "Tensor":
        """Return embeddings ``(N, channels, H, W)`` of a map of this shape; no place is masked."""
        del mask
        one = torch.Size([1, *(int(size) for size in shape[1:])])
        key = (one, str(device), dtype)
        found = self._once.of(key, lambda: self.formula(one, device, dtype))
        return found.expand(shape[0], -1, -1, -1)


def adapt_(module: nn.Module) -> None:
    """Put these layers in, and let the rest of the backbone learn.

    transformers freezes layers by their names, in its own ResNet all of them; here ``freeze`` of a
    recipe does.
    """
    for name, parameter in module.named_parameters():
        parameter.requires_grad |= "backbone" in name
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__.endswith("SinePositionEmbedding"):
                of_map = "mask" in signature(child.forward).parameters
                setattr(parent, name, MapPositions(child) if of_map else Positions(child))
            if not type(child).__name__.endswith("FrozenBatchNorm2d"):
                continue
            tensors = child.state_dict()
            still = StillBatchNorm(len(tensors["weight"]), eps=1e-5)
            still.load_state_dict(tensors, strict=False)
            setattr(parent, name, still.requires_grad_(requires_grad=False).eval())
