"""FSP: match how features flow from one layer to the next.

The flow between consecutive paired maps is their Gram matrix over the positions, ``(N, C_1, C_2)``;
larger maps are max-pooled to the smaller. The norms of the differences' columns are summed and
averaged over the batch. Where the models' channels differ, a learned 1x1 convolution adapts the
student's.

Source: Yim et al., A Gift from Knowledge Distillation
(https://openaccess.thecvf.com/content_cvpr_2017/html/Yim_A_Gift_From_CVPR_2017_paper.html);
computed by torchdistill's ``FSPLoss``.
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import NoOptions, Traits, Views

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="maps", min_layers=2, weight=0.05)
Options = NoOptions


def build(options: NoOptions, student: Views, teacher: Views) -> "Term":
    """Return the loss with its channel adapters."""
    del options
    from torch import nn

    from squeeze.distillation import mid_level, parts

    flow = mid_level.flow(len(student.maps))
    adapters = nn.ModuleList(
        parts.channel_adapter(s.shape[1], t.shape[1])
        for s, t in zip(student.maps, teacher.maps, strict=True)
    )

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        del labels
        adapted = [adapter(s) for adapter, s in zip(adapters, student.maps, strict=True)]
        return flow(adapted, teacher.maps)

    return parts.Term(compute, adapters)
