"""Knowledge distillation: match the softened class probabilities.

``L = T^2 * KL(softmax(teacher / T) || softmax(student / T))``, mean over the batch.

Source: Hinton et al., Distilling the Knowledge in a Neural Network, section 2
(https://arxiv.org/abs/1503.02531); computed by torchdistill's ``KDLoss``.
"""

from typing import TYPE_CHECKING

from squeeze.recipe.schema import LossBlock

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def build(block: LossBlock) -> "Callable[[Tensor, Tensor, Tensor], Tensor]":
    """Return student logits, teacher logits ``(N, classes)`` and labels to the loss."""
    from torchdistill.losses.mid_level import KDLoss

    soft = KDLoss("logits", "output", "logits", "output", temperature=block.temperature, alpha=0.0)

    def loss(student: "Tensor", teacher: "Tensor", labels: "Tensor") -> "Tensor":
        del labels  # cross-entropy on labels is weighted by the step, not in here
        divergence: Tensor = soft({"logits": {"output": student}}, {"logits": {"output": teacher}})
        return block.temperature**2 * divergence

    return loss
