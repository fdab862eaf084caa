"""Mean absolute activation that a channel feeds into the next convolutions and linear layers.

Source: Molchanov et al., Pruning Convolutional Neural Networks for Resource Efficient Inference
(https://arxiv.org/abs/1611.06440), section 2.2 (mean activation).
"""

from typing import TYPE_CHECKING, Any

from squeeze.pruning.importance.base import Evidence, Scorer

if TYPE_CHECKING:
    from torch import Tensor, nn

NEEDS_DATA = True
IN_LOSS_UNITS = False
_EPSILON = 1e-12


def scorer(evidence: Evidence) -> Scorer:
    """Watch the inputs of all layers over all samples.

    Torch-Pruning's own version keeps the last batch only, and leaves its numbers on the layers.
    """
    import torch
    from torch_pruning import pruner

    means = _mean_inputs(evidence)
    inputs = (
        pruner.function.prune_conv_in_channels,
        pruner.function.prune_linear_in_channels,
    )

    def score(group: Any) -> "Tensor | None":  # noqa: ANN401
        total, readers = torch.zeros(len(group[0].idxs)), 0
        for item in group:
            layer = item.dep.target.module
            if layer in means and item.dep.handler in inputs:
                total.scatter_add_(0, torch.tensor(item.root_idxs), means[layer][item.idxs])
                readers += 1
        return total / (total.mean() + _EPSILON) if readers else None

    return score


def _mean_inputs(evidence: Evidence) -> "dict[nn.Module, Tensor]":
    """Return each layer's mean absolute input per channel."""
    import torch
    from torch import nn

    sums: dict[nn.Module, Tensor] = {}

    def note(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        values = inputs[0].abs()
        axis = 1 if isinstance(layer, nn.Conv2d) else values.ndim - 1
        mean = values.movedim(axis, 0).flatten(1).mean(1) * len(values)
        sums[layer] = sums.get(layer, torch.zeros_like(mean)) + mean

    layers = [m for m in evidence.module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    count = 0
    try:
        with torch.no_grad():
            for images, _ in evidence.batches():
                evidence.module(images)
                count += len(images)
    finally:
        for hook in hooks:
            hook.remove()
    return {layer: total / count for layer, total in sums.items()}
