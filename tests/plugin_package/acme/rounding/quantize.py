"""Round the weights of convolutions and store them as integers."""

from typing import TYPE_CHECKING

from acme.pt2 import export
from squeeze.core.errors import SqueezeError
from squeeze.models.copying import copied
from squeeze.quantization.request import QuantizedFile, Request

if TYPE_CHECKING:
    from torch import nn

    from squeeze.core.cpu import Cpu
    from squeeze.recipe.schema import Quantization

_BITS, _LARGEST = 8, 127


def quantize(request: Request) -> QuantizedFile:
    """Write the program of the rounded module."""
    if request.model is None:
        raise SqueezeError("needs the torch model", where="backend rounding")
    module = copied(request.model.module)
    count = _round_(module)
    export.write(module, request.destination, request.model.input.shape, request.log)
    return QuantizedFile(_BITS, (f"weights of {count} convolutions are int8",))


def bits(step: "Quantization", target: "Cpu") -> int:
    """Return how many bits weights are going to have."""
    del step, target
    return _BITS


def _round_(module: "nn.Module") -> int:
    """Give all convolutions integer weights, which are multiplied by their scale on the way."""
    import torch
    from torch import nn

    class Rounded(nn.Module):
        def __init__(self, layer: nn.Conv2d) -> None:
            super().__init__()
            weight = layer.weight.detach()
            scale = weight.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12) / _LARGEST
            self.register_buffer("scale", scale)
            self.register_buffer("stored", (weight / scale).round().to(torch.int8))
            self.bias = layer.bias
            self.moves = (layer.stride, layer.padding, layer.dilation, layer.groups)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            weight = self.stored * self.scale
            return nn.functional.conv2d(images, weight, self.bias, *self.moves)

    layers = {n: each for n, each in module.named_modules() if isinstance(each, nn.Conv2d)}
    for name, layer in layers.items():
        module.set_submodule(name, Rounded(layer))
    return len(layers)
