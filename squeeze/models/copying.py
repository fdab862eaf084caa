"""Copy a module that holds things which Python cannot copy: locks, files, imported modules."""

import copy
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from squeeze.core.errors import SqueezeError

if TYPE_CHECKING:
    from torch import nn

    M = TypeVar("M", bound=nn.Module)

_MOST_SHARED = 1000


def copied(module: "M", *, share_weights: bool = False) -> "M":
    """Return a copy of a module, with parameters and buffers of its own.

    What its attributes hold that cannot be copied is shared with the original: the very object,
    not what holds it.

    Args:
        module: Left as it is.
        share_weights: Whether the copy's parameters use the memory of the original's: for a copy
            whose parameters are replaced, and never written.

    Raises:
        SqueezeError: A submodule itself, or a parameter, cannot be copied.
    """
    import torch
    from torch import nn

    shared: dict[int, object] = {}
    if share_weights:
        shared = {
            id(p): nn.Parameter(p.detach(), requires_grad=p.requires_grad)
            for p in module.parameters()
        }
    most = len(shared) + _MOST_SHARED
    while True:
        try:
            return copy.deepcopy(module, dict(shared))
        except Exception as error:
            stuck = _stuck_at(error.__traceback__)
            if (
                stuck is None
                or isinstance(stuck, nn.Module | nn.Parameter)
                or id(stuck) in shared
                or len(shared) >= most
            ):
                raise SqueezeError(
                    f"cannot be copied: {type(error).__name__}: {error}",
                    where=_place(module, stuck),
                    hint="let its class define __deepcopy__",
                ) from error
            # a tensor that a forward pass has left would keep its graph alive, and refuses a copy
            kept = stuck.detach().clone() if torch.is_tensor(stuck) else stuck
            shared[id(stuck)] = kept


def _stuck_at(trace: TracebackType | None) -> object:
    """Return the innermost object that ``copy.deepcopy`` was called with when it failed."""
    found = None
    while trace is not None:
        if trace.tb_frame.f_code is copy.deepcopy.__code__:
            found = trace.tb_frame.f_locals.get("x")
        trace = trace.tb_next
    return found


def _place(module: "nn.Module", stuck: object) -> str:
    """Return the attribute that holds an object, as a path from the module."""
    name = type(module).__name__
    for path, part in module.named_modules():
        here = ".".join(filter(None, (name, path)))
        if part is stuck:
            return here
        for attribute, value in (*vars(part).items(), *part.named_parameters(recurse=False)):
            if value is stuck:
                return f"{here}.{attribute}"
    return name
