"""Round weights to a runtime's integer grid, to nearest or by the statistics of a layer's inputs.

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
_BLOCK = 128  # columns between two updates of all others, which makes them one product


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
    """Round columns in the order of their power; later ones compensate the error so far."""
    import torch

    order = damped.diagonal(dim1=1, dim2=2).mean(0).argsort(descending=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped[:, order][:, :, order]))
    upper = torch.linalg.cholesky(inverse).transpose(1, 2)
    left, target, held = weight[..., order], nearest(weight, largest)[..., order], fixed[..., order]
    chosen = torch.empty_like(weight)
    for start in range(0, weight.shape[2], _BLOCK):
        block = slice(start, min(start + _BLOCK, weight.shape[2]))
        errors = torch.zeros_like(left[..., block])
        for place in range(block.start, block.stop):
            own = place - start
            passed = (errors[..., :own] @ upper[:, start:place, place : place + 1])[..., 0]
            now = left[..., place] - passed
            free = (now / step).round().clamp(-largest, largest)
            chosen[..., place] = torch.where(held[..., place], target[..., place], free)
            error = now - chosen[..., place] * step
            errors[..., own] = error / upper[:, place, place][:, None]
        left[..., block.stop :] -= errors @ upper[:, block, block.stop :]
    integers = torch.empty_like(weight)
    integers[..., order] = chosen
    return integers


def _improve_(
    integers: "Tensor", weight: "Tensor", damped: "Tensor", step: "Tensor", fixed: "Tensor"
) -> None:
    """Move single weights to where their row's error is least, with the others fixed."""
    import torch

    largest = integers.abs().amax(2)
    slope = (integers * step[..., None] - weight) @ damped
    for _ in range(_SWEEPS):
        before = integers.clone()
        for start in range(0, weight.shape[2], _BLOCK):
            block = slice(start, min(start + _BLOCK, weight.shape[2]))
            moves = torch.zeros_like(weight[..., block])
            for column in range(block.start, block.stop):
                own = column - start
                moved = (moves[..., :own] @ damped[:, start:column, column : column + 1])[..., 0]
                down = slope[..., column] + moved
                down = down / (damped[:, column, column][:, None] * step)
                wanted = (integers[..., column] - down).round()
                wanted = torch.minimum(torch.maximum(wanted, -largest), largest)
                wanted = torch.where(fixed[..., column], integers[..., column], wanted)
                moves[..., own] = (wanted - integers[..., column]) * step
                integers[..., column] = wanted
            slope += moves @ damped[:, block]
        if torch.equal(integers, before):
            return
