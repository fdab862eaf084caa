"""Inter-channel correlation: match which channels respond together.

The row-normalised ``(N, C, C)`` Gram matrices of the channels are compared, the student's map
after a learned 3x3 convolution with batch norm to the teacher's channels; squared difference over
``C``, mean over the batch. By default the last suggested pair is taken.

Source: Liu et al., Exploring Inter-Channel Correlation for Diversity-Preserved Knowledge
Distillation (https://arxiv.org/abs/2202.03680); computed by torchdistill's
``ChSimLoss`` (times ``N``, by which it divides once too often).
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import NoOptions, Traits, Views

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="maps", levels="last", weight=10.0)
Options = NoOptions


def build(options: NoOptions, student: Views, teacher: Views) -> "Term":
    """Return the loss with one embedding per pair."""
    del options
    from torch import nn

    from squeeze.distillation import mid_level, parts

    correlation = mid_level.several("ChSimLoss", len(student.maps), {})
    embeddings = nn.ModuleList(
        nn.Sequential(
            nn.Conv2d(s.shape[1], t.shape[1], 3, padding=1, bias=False),
            nn.BatchNorm2d(t.shape[1]),
        )
        for s, t in zip(student.maps, teacher.maps, strict=True)
    )

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        embedded = [e(s) for e, s in zip(embeddings, student.maps, strict=True)]
        return len(labels) * correlation(embedded, teacher.maps)

    return parts.Term(compute, embeddings)
