"""Variational information distillation: maximise the mutual information of both models' maps.

The negative log-likelihood of the teacher's map ``(N, C, H, W)`` under a Gaussian whose mean is
regressed from the student's map and whose channel variances are learned; mean over all elements,
summed over the pairs.

Source: Ahn et al., Variational Information Distillation for Knowledge Transfer
(https://arxiv.org/abs/1904.05835); computed by torchdistill's ``VIDLoss``.
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import Traits, Views
from squeeze.recipe.schema import Block, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="maps", weight=1.0)


class Options(Block):
    """What can be set.

    Attributes:
        variance: Where the variances start.
        floor: What is always added to them.
    """

    variance: Positive = 5.0
    floor: Positive = 1e-5


def build(options: Options, student: Views, teacher: Views) -> "Term":
    """Return the loss with one Gaussian per pair."""
    from torch import nn

    from squeeze.distillation import mid_level, parts

    likelihood = mid_level.several("VIDLoss", len(student.maps), {})
    gaussians = nn.ModuleList(
        parts.Gaussian(s.shape[1], t.shape[1], variance=options.variance, floor=options.floor)
        for s, t in zip(student.maps, teacher.maps, strict=True)
    )

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        del labels
        predicted = [g(s) for g, s in zip(gaussians, student.maps, strict=True)]
        return likelihood(predicted, teacher.maps)

    return parts.Term(compute, gaussians)
