"""Distance of a filter to all others: those near the geometric median can be replaced by the rest.

Distances are summed over a group's layers; of those that read the group, a channel's filter is
what they multiply it by. Biases and norms do not count.

Source: He et al., Filter Pruning via Geometric Median (https://arxiv.org/abs/1811.00250), eq. 6.
"""

from typing import TYPE_CHECKING, Any

from squeeze.pruning.importance.base import Evidence, Scorer

if TYPE_CHECKING:
    from torch import Tensor

NEEDS_DATA = False
IN_LOSS_UNITS = False
_EPSILON = 1e-12


def scorer(evidence: Evidence) -> Scorer:
    """Compare weights only.

    Torch-Pruning's own version compares squared weights, so that filters of opposite sign are the
    same to it, and fails on grouped convolutions (1.6.1).
    """
    del evidence
    import torch
    from torch_pruning import pruner

    made = {
        pruner.function.prune_conv_out_channels,
        pruner.function.prune_depthwise_conv_out_channels,
        pruner.function.prune_linear_out_channels,
    }
    read = {pruner.function.prune_conv_in_channels, pruner.function.prune_linear_in_channels}

    def score(group: Any) -> "Tensor | None":  # noqa: ANN401
        total, layers = torch.zeros(len(group[0].idxs)), 0
        for item in group:
            if item.dep.handler in made | read:
                rows = _filters(item.dep.target.module, is_out=item.dep.handler in made)
                roots = torch.tensor(item.root_idxs)
                order = roots.argsort(stable=True)
                channels = torch.tensor(sorted(set(item.root_idxs)))
                # a flattened map has several inputs per channel: together they are its filter
                own = rows[torch.tensor(item.idxs)[order]].reshape(len(channels), -1)
                total.index_add_(0, channels, torch.cdist(own[None], own[None])[0].sum(1))
                layers += 1
        return total / (total.mean() + _EPSILON) if layers else None

    return score


def _filters(layer: Any, *, is_out: bool) -> "Tensor":  # noqa: ANN401
    """Return a layer's weights by output or by input channel ``(channels, weights)``."""
    parts = layer.weight.detach().unflatten(0, (getattr(layer, "groups", 1), -1))
    if is_out == getattr(layer, "transposed", False):
        parts = parts.transpose(1, 2)
    found: Tensor = parts.flatten(0, 1).flatten(1)
    return found
