"""Weights: read a file of tensors without running code, and load it strictly."""

import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from squeeze.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

_SHOWN = 6
_CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model")
_PARALLEL = "module."
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


def read_weights(path: Path) -> "dict[str, Tensor]":
    """Read a state dict from ``.safetensors`` or a weights-only ``.pt``/``.pth``.

    Raises:
        InputError: The file is a pickle with code, damaged, or no state dict.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)  # type: ignore[no-any-return]
        except (SafetensorError, OSError) as error:
            raise InputError(f"is not a safetensors file: {error}", where=str(path)) from error
    return _read_pt(path)


def _read_pt(path: Path) -> "dict[str, Tensor]":
    import torch

    where = str(path)
    try:
        with path.open("rb") as file:
            known = file.read(len(_ZIP)).startswith((_ZIP, _PICKLE))
        found = torch.load(path, map_location="cpu", weights_only=True) if known else None
    except pickle.UnpicklingError as error:
        raise InputError(
            "is a pickle that holds more than tensors; loading it would run code from the file",
            where=where,
            hint='if you trust it, convert it once: python -c "import torch; torch.save('
            "torch.load('OLD.pth', weights_only=False).state_dict(), 'NEW.pth')\"",
        ) from error
    except Exception as error:  # torch raises whatever a damaged file leads it into
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"cannot be read as torch weights: {reason}", where=where) from error
    if not known:
        raise InputError(
            "is not a torch file", where=where, hint="save a state dict with torch.save"
        )
    for key in _CHECKPOINT_KEYS:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not _is_state_dict(found):
        raise InputError("holds no state dict (a mapping of names to tensors)", where=where)
    return {key.removeprefix(_PARALLEL): value for key, value in found.items()}


def _is_state_dict(found: object) -> "TypeGuard[dict[str, Tensor]]":
    import torch

    return (
        isinstance(found, dict)
        and bool(found)
        and all(isinstance(key, str) and torch.is_tensor(value) for key, value in found.items())
    )


def load_weights_(module: "nn.Module", weights: "Mapping[str, Tensor]", *, where: str) -> None:
    """Load a state dict strictly, in place.

    Names are the module's own, or those that files use by its ``other_names``. A file may also
    hold buffers that the module derives itself, as older ones do, where they are the same.

    Raises:
        InputError: Keys or shapes differ; the first of each kind are listed.
    """
    own = module.state_dict()
    weights = _renamed(weights, module, own)
    derived = {key: buffer for key, buffer in module.named_buffers() if key not in own}
    missing = [key for key in own if key not in weights and not _is_counter(key)]
    unused = tuple(getattr(module, "unused_weights", ()))
    surplus = [
        key
        for key, tensor in weights.items()
        if key not in own and not key.startswith(unused) and not _is_equal(tensor, derived.get(key))
    ]
    shapes = [
        (key, tuple(weights[key].shape), tuple(own[key].shape))
        for key in own
        if key in weights and weights[key].shape != own[key].shape
    ]
    if not (missing or surplus or shapes):
        # its own dict carries the layers' versions, which MNASNet insists on and no file holds
        own.update({key: tensor for key, tensor in weights.items() if key in own})
        module.load_state_dict(own)
        return
    lines = [f"{key}: file {found}, model {expected}" for key, found, expected in shapes]
    text = "; ".join(
        f"{len(keys)} {label}: {', '.join(keys[:_SHOWN])}{', …' if len(keys) > _SHOWN else ''}"
        for label, keys in (
            ("keys missing in the file", missing),
            ("keys the model does not have", surplus),
            ("shapes differ", lines),
        )
        if keys
    )
    raise InputError(f"does not fit the model: {text}", where=where, hint=_classes_hint(shapes))


def _renamed(
    weights: "Mapping[str, Tensor]", module: "nn.Module", own: "Mapping[str, Tensor]"
) -> "Mapping[str, Tensor]":
    """Return the weights under the module's own names."""
    found = {}
    for key, tensor in weights.items():
        name = key
        for pattern, replacement in getattr(module, "other_names", ()):
            name = re.sub(pattern, replacement, name)
        found[name if name in own else key] = tensor
    return found


def _is_equal(tensor: "Tensor", derived: "Tensor | None") -> bool:
    import torch

    return derived is not None and torch.equal(tensor.to(derived), derived)


def load_backbone_(module: "nn.Module", weights: "Mapping[str, Tensor]", *, where: str) -> None:
    """Load a classifier's weights into the submodule ``backbone``, in place.

    Names are compared from their ends, because a detector may wrap the classifier. Every child of
    the backbone gets all its tensors or none: ``body`` does, ``fpn`` is the detector's own.

    Raises:
        InputError: There is no backbone, or a file that fits no child of it, or one half.
    """
    from torch import nn

    backbone = getattr(module, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise InputError(
            f"a {type(module).__name__} has no submodule 'backbone' to load it into", where=where
        )
    own = backbone.state_dict()
    found = {key: _by_end(key, tensor, weights) for key, tensor in own.items()}
    parts: dict[str, list[str]] = {}
    for key in own:
        if not _is_counter(key):
            parts.setdefault(key.partition(".")[0], []).append(key)
    taken = {part for part, keys in parts.items() if any(found[key] is not None for key in keys)}
    missing = [key for part in taken for key in parts[part] if found[key] is None]
    if missing or not taken:
        lost = missing or list(own)
        raise InputError(
            f"does not fit the backbone: {len(lost)} tensors are not in the file or have another "
            f"shape: {', '.join(lost[:_SHOWN])}{', …' if len(lost) > _SHOWN else ''}",
            where=where,
            hint="take the weights of the classifier that the backbone was made from",
        )
    own.update({key: tensor for key, tensor in found.items() if tensor is not None})
    backbone.load_state_dict(own)


def _by_end(key: str, like: "Tensor", weights: "Mapping[str, Tensor]") -> "Tensor | None":
    """Return the file's tensor of this name, or of the name without its first parts."""
    while key:
        tensor = weights.get(key)
        if tensor is not None and tensor.shape == like.shape:
            return tensor
        key = key.partition(".")[2]
    return None


def _is_counter(key: str) -> bool:
    """Tell what only counts batches: files with frozen batch norms, as of detectors, lack it."""
    return key.endswith("num_batches_tracked")


def _classes_hint(shapes: list[tuple[str, tuple[int, ...], tuple[int, ...]]]) -> str | None:
    heads = [
        (found[0], expected[0])
        for _, found, expected in shapes
        if found and expected and found[1:] == expected[1:]
    ]
    if heads and len(heads) == len(shapes) and len(set(heads)) == 1:
        found, expected = heads[0]
        return (
            f"the weights are for {found} classes and the model has {expected}: "
            f"set model.args.num_classes: {found}"
        )
    return None


def refuse_nan(module: "nn.Module", where: str) -> None:
    """Raise ``InputError`` if any tensor of a model holds NaN or infinity."""
    import torch

    bad = [
        name
        for name, tensor in module.state_dict().items()
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]
    if bad:
        raise InputError(
            f"{len(bad)} tensors hold NaN or infinity: {', '.join(bad[:_SHOWN])}",
            where=where,
            hint="these weights are damaged; use an earlier checkpoint",
        )
