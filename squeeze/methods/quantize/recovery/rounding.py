"""Choose weights on a runtime's integer grid, to nearest or by what the layer's inputs show.

Adaptive rounding minimises the mean square of a layer's output error, ``d @ H @ d`` for a row of
weight errors ``d`` and the inputs' covariance ``H``, one weight at a time: the columns are rounded
in order of their power, every error is passed on to those that follow, then single steps up or down
are taken while they help.

Source: Nagel et al., Up or Down? (https://arxiv.org/abs/2004.10568), equation 9 for the objective;
Frantar et al., GPTQ (https://arxiv.org/abs/2210.17323), algorithm 1 for the order and the
passing on.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_DAMPING = 0.01
_SWEEPS = 3


def steps(weight: "Tensor", largest: int) -> "Tensor":
    """Return the step of every row ``(G, O)`` of weights ``(G, O, K)``: its largest is on the grid.

    Runtimes take a row's step from its largest weight, so that one must come out as ``largest``.
    """
    import torch

    found = weight.abs().amax(2) / largest
    return torch.where(found > 0, found, torch.ones_like(found))


def nearest(weight: "Tensor", largest: int) -> "Tensor":
    """Return integers ``(G, O, K)``."""
    return (weight / steps(weight, largest)[..., None]).round().clamp(-largest, largest)


def adaptive(weight: "Tensor", covariance: "Tensor", largest: int) -> "Tensor":
    """Return integers ``(G, O, K)`` whose outputs are closest to those of the weights.

    Args:
        weight: ``(G, O, K)`` float64, ``K`` inputs to ``O`` outputs in each of ``G`` groups.
        covariance: Of the inputs, ``(G, K, K)`` float64.
        largest: The largest integer.
    """
    import torch

    power = covariance.diagonal(dim1=1, dim2=2).mean(1)
    damping = (power * _DAMPING).clamp(min=torch.finfo(weight.dtype).tiny ** 0.5)
    damped = covariance + torch.diag_embed(damping[:, None].expand(-1, covariance.shape[1]))
    step = steps(weight, largest)
    fixed = torch.zeros_like(weight, dtype=torch.bool)
    fixed.scatter_(2, weight.abs().argmax(2, keepdim=True), value=True)
    integers = _passing_on(weight, damped, step, fixed, largest)
    _improve_(integers, weight, damped, step, fixed)
    return integers


def _passing_on(
    weight: "Tensor", damped: "Tensor", step: "Tensor", fixed: "Tensor", largest: int
) -> "Tensor":
    import torch

    order = damped.diagonal(dim1=1, dim2=2).mean(0).argsort(descending=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped[:, order][:, :, order]))
    upper = torch.linalg.cholesky(inverse).transpose(1, 2)
    left, target = weight[..., order].clone(), nearest(weight, largest)
    integers = torch.empty_like(weight)
    for place, column in enumerate(order.tolist()):
        free = (left[..., place] / step).round().clamp(-largest, largest)
        integers[..., column] = torch.where(fixed[..., column], target[..., column], free)
        error = left[..., place] - integers[..., column] * step
        error = error / upper[:, place, place][:, None]
        left[..., place + 1 :] -= error[..., None] * upper[:, None, place, place + 1 :]
    return integers


def _improve_(
    integers: "Tensor", weight: "Tensor", damped: "Tensor", step: "Tensor", fixed: "Tensor"
) -> None:
    """Move single weights to where their row's error is least, the others being as they are."""
    import torch

    largest = integers.abs().amax(2)
    slope = (integers * step[..., None] - weight) @ damped
    for _ in range(_SWEEPS):
        moved = False
        for column in range(weight.shape[2]):
            best = slope[..., column] / (damped[:, column, column][:, None] * step)
            wanted = (integers[..., column] - best).round()
            wanted = torch.minimum(torch.maximum(wanted, -largest), largest)
            wanted = torch.where(fixed[..., column], integers[..., column], wanted)
            change = wanted - integers[..., column]
            if change.any():
                moved = True
                integers[..., column] = wanted
                slope += (change * step)[..., None] * damped[:, None, column]
        if not moved:
            return
