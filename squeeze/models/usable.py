"""What a factory may return: a module whose tensors hold values and which can be changed."""

from typing import TYPE_CHECKING

from squeeze.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

_EAGER = "let the factory return the plain module, as it is before it is traced or exported"
_PLAIN = "let the factory return the plain float module"


def checked(module: object, where: str) -> "nn.Module":
    """Return what a factory made, in eval mode.

    Args:
        module: What it returned.
        where: The factory's reference.

    Raises:
        InputError: It is not a module, one that cannot be copied, trained and pruned, or its
            tensors hold no values.
    """
    from torch import jit, nn

    if not isinstance(module, nn.Module):
        raise InputError(
            f"returned {type(module).__name__}, expected a torch.nn.Module",
            where=where,
            hint="let the factory return the model itself",
        )
    for path, part in module.named_modules():
        if isinstance(part, jit.ScriptModule):
            what = f"'{path}' is" if path else "returned"
            raise InputError(
                f"{what} TorchScript, whose layers cannot be changed", where=where, hint=_EAGER
            )
    try:
        module.eval()
    except NotImplementedError as error:  # of torch.export
        raise InputError(
            "returned an exported program, whose layers cannot be changed", where=where, hint=_EAGER
        ) from error
    _refuse_tensors(module, where)
    return module


def _refuse_tensors(module: "nn.Module", where: str) -> None:
    """Refuse tensors that cannot be read, stored or trained.

    Raises:
        InputError: With the first of them.
    """
    import torch

    held = {
        **module.state_dict(),
        **dict(module.named_buffers()),
        **dict(module.named_parameters()),
    }
    for name, tensor in held.items():
        if not torch.is_tensor(tensor):
            kind = type(tensor).__name__
            raise InputError(
                f"'{name}' of its state_dict is a {kind}, not a tensor", where=where, hint=_PLAIN
            )
        fault = _fault_of(tensor)
        if fault is not None:
            raise InputError(f"'{name}' {fault[0]}", where=where, hint=fault[1])


def _fault_of(tensor: "Tensor") -> tuple[str, str] | None:
    """Return why a tensor cannot be used and what to do about it, or None."""
    import torch
    from torch.nn.parameter import is_lazy

    if is_lazy(tensor):
        return "has no shape yet", "let the factory call its lazy layers once on an image"
    if tensor.is_meta:
        return "is on the meta device and holds no values", "build the model on the CPU"
    if tensor.is_inference():
        return "was made in inference mode", "leave torch.inference_mode out of the factory"
    if tensor.layout != torch.strided or tensor.is_quantized:
        kind = "quantized" if tensor.is_quantized else "sparse"
        return f"is {kind}, and only dense floats and integers are read", _PLAIN
    return None
