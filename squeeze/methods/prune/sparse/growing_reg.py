"""Weight decay whose strength keeps growing, fastest for the weakest channels.

Source: Wang et al., Neural Pruning via Growing Regularization (https://arxiv.org/abs/2012.09243),
section 3.2, with the group version of DepGraph: every 10 steps a channel's strength grows by
``strength * (I_max - I) / (I_max - I_min)``, ``I`` its squared group norm.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from squeeze.methods.prune.sparse.base import GroupWeights, Regularizer

if TYPE_CHECKING:
    from torch import Tensor

_EVERY = 10
_EPSILON = 1e-12


def regularizer(groups: Sequence[GroupWeights], strength: float) -> Regularizer:
    """Return the function that changes the gradients of one training step."""
    import torch

    grown: dict[str, Tensor] = {}
    steps = 0

    def pull() -> None:
        nonlocal steps
        for group in groups:
            norm = group.squared_norms()
            reached = grown.setdefault(group.name, torch.zeros_like(norm))
            if steps % _EVERY == 0:
                reached += strength * (norm.max() - norm) / (norm.max() - norm.min() + _EPSILON)
            group.decay_(reached)
        steps += 1

    return pull
