"""How a pruned module differs from a freshly built one: plain attributes and tensor shapes.

Together with the tensors that is all a pruned model is, whatever removed the channels and in how
many rounds: ``Conv2d.out_channels``, ``MultiheadAttention.num_heads``, a split's sizes. No graph
is traced and nothing is replayed to load it.
"""

from typing import TYPE_CHECKING

from squeeze.core.errors import InputError
from squeeze.models import written_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

Attributes = dict[str, dict[str, object]]
"""Module path to its attributes that differ from a fresh module's."""

_PLAIN = (bool, int, float, str, type(None))


def differences(module: "nn.Module", fresh: "nn.Module") -> Attributes:
    """Return the plain attributes of ``module`` that differ from those of ``fresh``.

    Plain are numbers, texts, flags, None, and lists and tuples of them. Both must have the same
    submodules.
    """
    originals = dict(fresh.named_modules())
    found: Attributes = {}
    for path, part in module.named_modules():
        before = _plain(originals[path])
        changed = {
            name: value
            for name, value in _plain(part).items()
            if name not in before or before[name] != value
        }
        if changed:
            found[path] = changed
    return found


def restore_(
    module: "nn.Module", attributes: Attributes, tensors: "Mapping[str, Tensor]", *, where: str
) -> None:
    """Give a fresh module the attributes and the tensor shapes of a pruned one.

    The tensors' values are loaded afterwards, strictly; here only room is made for them.

    Raises:
        InputError: The module has no such submodule.
    """
    parts = dict(module.named_modules())
    for path, changed in attributes.items():
        if path not in parts:
            raise InputError(
                f"its record names '{path}', which the model does not have",
                where=where,
                hint="the factory has changed since the bundle was saved",
            )
        for name, value in changed.items():
            _set_(parts[path], name, value, where=where)
        derive = getattr(parts[path], "derive_", None)
        if callable(derive):  # buffers that follow from attributes and are no part of the weights
            derive()
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        if path in parts:
            _resize_(parts[path], leaf, tensor)
    if any(written_sizes.ATTRIBUTE in changed for changed in attributes.values()):
        written_sizes.install_all_(module)


def _set_(part: "nn.Module", name: str, value: object, *, where: str) -> None:
    own = vars(part).get(name)
    is_other = hasattr(part, name) and name not in vars(part)  # a parameter, a method, …
    is_odd = name == written_sizes.ATTRIBUTE and not written_sizes.are_entries(value)
    if is_other or is_odd or not _is_plain(own) or not _is_plain(value):
        raise InputError(
            f"its record cannot set '{name}' of a {type(part).__name__}",
            where=where,
            hint="the factory has changed since the bundle was saved",
        )
    setattr(part, name, _like(value, own))


def _like(value: object, own: object) -> object:
    """Make tuples of lists, as deep as in a fresh module: JSON has no tuples."""
    if not isinstance(value, list | tuple):
        return value
    inner = list(own) if isinstance(own, list | tuple) else []
    inner += inner[-1:] * (len(value) - len(inner))
    items = [_like(item, inner[i] if inner else None) for i, item in enumerate(value)]
    return tuple(items) if isinstance(own, tuple) else items


def _resize_(part: "nn.Module", leaf: str, tensor: "Tensor") -> None:
    import torch

    own = getattr(part, leaf, None)
    if not torch.is_tensor(own) or own.shape == tensor.shape:
        return
    room = torch.empty_like(tensor, dtype=own.dtype)
    if isinstance(own, torch.nn.Parameter):
        setattr(part, leaf, torch.nn.Parameter(room, requires_grad=own.requires_grad))
    else:
        setattr(part, leaf, room)


def _plain(module: "nn.Module") -> dict[str, object]:
    return {
        name: value
        for name, value in vars(module).items()
        if name != "training" and _is_plain(value)
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return isinstance(value, _PLAIN)
