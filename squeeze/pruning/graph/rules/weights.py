"""What weights say of channels."""

from typing import TYPE_CHECKING

from squeeze.pruning.graph.call import Call
from squeeze.pruning.graph.labels import Labelled

if TYPE_CHECKING:
    from torch import Tensor


def vector(call: Call, weight: Labelled, dim: int, *, is_made: bool = False) -> "Tensor | None":
    """Return a weight's labels along one dimension; a layer may make a single channel."""
    import torch

    for labels in weight.maps:
        if labels.shape[dim] > 1:
            others = [d for d in range(labels.ndim) if d != dim]
            return call.coupling.collapse(labels, others).reshape(-1)
    if is_made and weight.shape[dim] == 1 and weight.path is not None:
        return torch.from_numpy(call.coupling.side(weight.path, dim, 1).labels)
    return None
