"""Neuron selectivity transfer: match the distribution of the channels' activation patterns.

Every channel of a map ``(N, C, H, W)`` is scaled to length one; the squared maximum mean
discrepancy between the two sets of channels under the kernel ``(x . y)^2``, mean over the batch,
summed over the pairs. Channels may differ. Not in torchdistill.

Source: Huang and Wang, Like What You Like: Knowledge Distill via Neuron Selectivity Transfer (https://arxiv.org/abs/1707.01219).
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import NoOptions, Traits, Views

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="maps", weight=50.0)
Options = NoOptions


def build(options: NoOptions, student: Views, teacher: Views) -> "Term":
    """Return the loss."""
    del options, student, teacher
    from squeeze.distillation import parts

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        del labels
        total = student.logits.new_zeros(())
        for s, t in zip(student.maps, teacher.maps, strict=True):
            total = total + discrepancy(s, t)
        return total

    return parts.Term(compute)


def discrepancy(student: "Tensor", teacher: "Tensor") -> "Tensor":
    """Return the squared discrepancy of maps ``(N, C_s, H, W)`` and ``(N, C_t, H, W)``."""
    from torch.nn import functional

    s, t = (functional.normalize(x.flatten(2), dim=2) for x in (student, teacher))

    def kernel(x: "Tensor", y: "Tensor") -> "Tensor":
        return (x @ y.transpose(1, 2)).pow(2).mean()

    return kernel(t, t) + kernel(s, s) - 2 * kernel(s, t)
