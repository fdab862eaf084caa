"""First-order Taylor expansion: the mean over samples of the squared change of the loss.

A gate of one is imagined on every channel; its gradient says how the loss changes without the
channel. Gates stand behind the group's norms, where it has any, else behind the layers that make
the channels, and add up over a group. Scores are in units of the loss (squared), and so comparable
between groups.

Torch-Pruning's version is not used: it multiplies weights by the gradient averaged over all
samples, which in a trained model is next to nothing.

Source: Molchanov et al., Importance Estimation for Neural Network Pruning
(https://arxiv.org/abs/1906.10771), equation 8 with gates, section 3.2.
"""

from typing import TYPE_CHECKING, Any

from squeeze.pruning.importance.base import Evidence, Scorer

if TYPE_CHECKING:
    from torch import Tensor, nn

NEEDS_DATA = True
IN_LOSS_UNITS = True


def scorer(evidence: Evidence) -> Scorer:
    """Look at the gates' gradients, sample by sample."""
    import torch
    from torch_pruning.pruner import function

    gates = _mean_squares(evidence)
    outputs = (function.prune_conv_out_channels, function.prune_linear_out_channels)

    def score(group: Any) -> "Tensor | None":  # noqa: ANN401
        known = [item for item in group if item.dep.target.module in gates]
        norms = [item for item in known if item.dep.target.module.weight.ndim == 1]
        made = [item for item in known if item.dep.handler in outputs]
        total = torch.zeros(len(group[0].idxs))
        for item in norms or made:
            found = gates[item.dep.target.module].cpu()[item.idxs]
            total.scatter_add_(0, torch.tensor(item.root_idxs), found)
        return total if norms or made else None

    return score


def _mean_squares(evidence: Evidence) -> "dict[nn.Module, Tensor]":
    """Return, for every layer with weights, the mean squared gradient of its outputs' gates."""
    import torch
    from torch import nn

    norms = nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm  # noqa: SLF001
    layers = [
        part
        for part in evidence.module.modules()
        if isinstance(part, nn.Conv2d | nn.Linear | norms) and part.weight is not None
    ]
    sums: dict[nn.Module, Tensor] = {}
    count = 0
    for images, labels in evidence.batches():
        for image, label in zip(images, labels, strict=True):
            evidence.module.zero_grad(set_to_none=True)
            alone = label[None] if torch.is_tensor(label) else [label]
            evidence.loss_of(image[None], alone).backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                for layer in layers:
                    gradient = _gate_gradient(layer)
                    if gradient is not None:
                        sums[layer] = sums.get(layer, torch.zeros_like(gradient)) + gradient**2
            count += 1
    return {layer: total / count for layer, total in sums.items()}


def _gate_gradient(layer: Any) -> "Tensor | None":  # noqa: ANN401
    """Return the loss's gradient by gates on the layer's outputs ``(channels,)``.

    A gate scales weights and bias alike, so its gradient is the sum of both times their gradients.
    """
    if layer.weight.grad is None:
        return None
    gradient = (layer.weight * layer.weight.grad).reshape(len(layer.weight), -1).sum(1)
    if layer.bias is not None and layer.bias.grad is not None:
        gradient = gradient + layer.bias * layer.bias.grad
    return gradient  # type: ignore[no-any-return]
