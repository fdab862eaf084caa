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
        path = layer_of(dependency)
        layer = module.get_submodule(path)
        if is_computed(layer):
            return (
                f"the weight of {path} ({type(layer).__name__}) is computed from others: "
                f"call {_remedy(layer)} before pruning"
            )
    return None


def layer_of(dependency: "Dependency") -> str:
    """Return the path of the layer that a side is of, also where it is of a bare tensor."""
    path, is_parametrized, _ = dependency.path.partition(".parametrizations.")
    if dependency.dimension is None or is_parametrized:
        return path
    return path.rpartition(".")[0]


def is_computed(layer: Any) -> bool:  # noqa: ANN401
    """Tell a layer whose weight is made of other tensors whenever it is called."""
    own = layer._parameters.keys() | layer._buffers.keys()  # noqa: SLF001  (None is in no other list)
    return getattr(layer, "weight", None) is not None and "weight" not in own


def _remedy(layer: "nn.Module") -> str:
    from torch.nn.utils import parametrize

    if parametrize.is_parametrized(layer, "weight"):
        return "torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')"
    hooks = (type(hook).__name__ for hook in layer._forward_pre_hooks.values())  # noqa: SLF001
    return next((_REMOVE[name] for name in hooks if name in _REMOVE), _REMOVE_MASK)
