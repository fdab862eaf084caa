"""Rounding to 8 bits with a gradient: what int8 kernels do to a tensor, in float.

Rounding has the derivative of the identity, clipping its own (straight-through). The ends of an
activation's range learn by the same rule. Source: Esser et al., Learned Step Size Quantization
(https://arxiv.org/abs/1902.08153), equations 1 to 4; Bhalgat et al., LSQ+
(https://arxiv.org/abs/2004.09576), equations 3 to 5, for ranges that are not symmetric.
"""

from typing import TYPE_CHECKING

import torch  # noqa: TID253  (imported only to train)
from torch import nn  # noqa: TID253

if TYPE_CHECKING:
    from torch import Tensor

STEPS = 255
_NARROWEST = 1e-6


class Rounding(nn.Module):
    """An activation on the 256 steps from its range's lower to its upper end.

    Args:
        low: At most 0. Where it is 0 it stays 0, as after a ReLU.
        high: Above ``low``, at least 0. What has always been 0, as in a dead squeeze-excite block,
            gets 1: XNNPACK refuses a file whose scales are too unequal.
        ceiling: Where values are clipped already, as by ReLU6. Runtimes clip by the range only, so
            the upper end stays below.

    Attributes:
        start: ``(2,)``, the ends before training.
        stretch: ``(2,)``, by how much the ends have moved since; trained.
    """

    start: "Tensor"

    def __init__(self, low: float, high: float, ceiling: float | None = None) -> None:
        super().__init__()
        self.ceiling = ceiling
        low, high = min(low, 0.0), max(high, 0.0)
        if low == high:
            high = 1.0
        self.register_buffer("start", torch.tensor([low, max(high, low + _NARROWEST)]))
        self.stretch = nn.Parameter(torch.ones(2))

    def forward(self, x: "Tensor") -> "Tensor":
        """Return ``x`` rounded and clipped, of the same shape."""
        step, zero = self.grid(count=x[0].numel())
        integers = (straight_through(x / step) + zero).clamp(0, STEPS)
        return (integers - zero) * step

    def grid(self, count: int = 1) -> "tuple[Tensor, Tensor]":
        """Return the step and the integer that stands for 0.

        Args:
            count: Values of a sample that are rounded; their gradients add up, and LSQ's factor
                ``1 / sqrt(count)`` keeps the ends from moving faster than the weights. Its 255
                is in the unit already: an end is so many steps.
        """
        factor = count**-0.5
        stretch = self.stretch * factor + (self.stretch * (1 - factor)).detach()
        low, high = self.start * stretch.clamp(min=_NARROWEST)
        high = high if self.ceiling is None else high.clamp(max=self.ceiling)
        step = (high - low) / STEPS
        return step, straight_through(-low / step)

    def ends(self) -> tuple[float, float]:
        """Return the range that has exactly this grid; 0 is one of its steps."""
        with torch.no_grad():
            step, zero = (value.item() for value in self.grid())
        return 0.0 - zero * step, (STEPS - zero) * step


class RoundedConv2d(nn.Conv2d):
    """A convolution whose weights are used rounded, one step per output channel.

    Attributes:
        largest: Of its integers.
        source: What rounds its inputs; None where that is not the same at every call.
    """

    largest: int
    source: Rounding | None

    def forward(self, input: "Tensor") -> "Tensor":  # noqa: A002  (torch's name)
        """Convolve with the rounded weights and biases."""
        weight, bias = rounded_layer(self)
        return self._conv_forward(input, weight, bias)  # type: ignore[no-any-return]


class RoundedLinear(nn.Linear):
    """A linear layer whose weights are used rounded, one step per output.

    Attributes:
        largest: Of its integers.
        source: What rounds its inputs; None where that is not the same at every call.
    """

    largest: int
    source: Rounding | None

    def forward(self, input: "Tensor") -> "Tensor":  # noqa: A002  (torch's name)
        """Multiply with the rounded weights and add the rounded biases."""
        return nn.functional.linear(input, *rounded_layer(self))


def rounded_layer(layer: RoundedConv2d | RoundedLinear) -> "tuple[Tensor, Tensor | None]":
    """Return the weights and biases that runtimes compute with.

    Biases are added to 32-bit sums of products: their step is that of a weight times that of an
    input. It is small, but a value that it moves across a rounding edge changes later ones.
    """
    weight, bias = rounded(layer.weight, layer.largest), layer.bias
    if bias is None or layer.source is None:
        return weight, bias
    with torch.no_grad():
        step, _ = layer.source.grid()
        step = (step * steps(layer.weight, layer.largest)).double()
        on_grid = ((bias / step).round() * step).to(bias.dtype)
    return weight, bias + (on_grid - bias).detach()


def rounded(weight: "Tensor", largest: int) -> "Tensor":
    """Return the weights on the runtimes' grid: the largest of every output is ``largest`` steps.

    Args:
        weight: ``(O, ...)``.
        largest: 64 for 7 bits, 127 for 8.
    """
    with torch.no_grad():
        step = steps(weight, largest).view(-1, *[1] * (weight.dim() - 1))
        on_grid = (weight / step).round() * step
    return weight + (on_grid - weight).detach()


def steps(weight: "Tensor", largest: int) -> "Tensor":
    """Return the step of every output's weights, ``(O,)``; 1 where all of them are 0."""
    step = weight.flatten(1).abs().amax(1) / largest
    return torch.where(step > 0, step, 1.0)


def straight_through(x: "Tensor") -> "Tensor":
    """Round half to even; the derivative is 1."""
    return x + (x.round() - x).detach()
