"""Weights that are computed from others, such as those of a weight norm, cannot be cut."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

    from squeeze.pruning.groups import Dependency

_REMOVE = {
    "WeightNorm": "torch.nn.utils.remove_weight_norm(layer)",
    "SpectralNorm": "torch.nn.utils.remove_spectral_norm(layer)",
}
_REMOVE_MASK = "torch.nn.utils.prune.remove(layer, 'weight')"


def reason(module: "nn.Module", dependencies: "Iterable[Dependency]") -> str | None:
    """Return why a group stays, and what to do, if a layer of it has no weight of its own.

    Args:
        module: The surveyed module.
        dependencies: All sides of layers in the group.
    """
    for dependency in dependencies:
        if dependency.dimension is not None:
            continue
        layer: Any = module.get_submodule(dependency.path)
        parameters = layer._parameters  # noqa: SLF001  (a weight of None is in no list of others)
        if getattr(layer, "weight", None) is not None and "weight" not in parameters:
            return (
                f"the weight of {dependency.path} ({dependency.kind}) is computed from others: "
                f"call {_remedy(layer)} before pruning"
            )
    return None


def _remedy(layer: "nn.Module") -> str:
    from torch.nn.utils import parametrize

    if parametrize.is_parametrized(layer, "weight"):
        return "torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')"
    hooks = (type(hook).__name__ for hook in layer._forward_pre_hooks.values())  # noqa: SLF001
    return next((_REMOVE[name] for name in hooks if name in _REMOVE), _REMOVE_MASK)
