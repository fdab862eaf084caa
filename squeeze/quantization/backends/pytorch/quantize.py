"""Write a bundle in half precision."""

from dataclasses import replace
from typing import TYPE_CHECKING

from squeeze.core.errors import SqueezeError
from squeeze.models.copying import copied
from squeeze.quantization.request import QuantizedFile, Request

if TYPE_CHECKING:
    from squeeze.core.cpu import Cpu
    from squeeze.recipe.schema import Quantization

_BITS = 16


def quantize(request: Request) -> QuantizedFile:
    """Write a bundle of fp16 or bf16 weights; the runtime casts the inputs to them.

    Raises:
        SqueezeError: The scheme is not half precision, or weights do not fit into it.
    """
    import torch

    from squeeze.models import bundle

    types = {"fp16": torch.float16, "bf16": torch.bfloat16}
    kind = types.get(request.step.scheme)
    if kind is None or request.model is None:
        raise SqueezeError(
            "bundles for PyTorch are half precision only",
            where=request.step.scheme,
            hint="use scheme: fp16 or bf16",
        )
    module = copied(request.model.module).to(kind)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise SqueezeError(
                f"the weight {name} is not finite in {request.step.scheme}",
                where=str(request.source),
                hint="use scheme: bf16, which has the range of fp32, or leave the target in fp32",
            )
    bundle.save(replace(request.model, module=module), request.destination)
    return QuantizedFile(_BITS, (f"weights and activations are {request.step.scheme}",))


def bits(step: "Quantization", target: "Cpu") -> int:
    """Return how many bits weights are going to have."""
    del step, target
    return _BITS
