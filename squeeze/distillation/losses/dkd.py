"""Decoupled distillation: the target class and the other classes are matched apart.

``T^2 * (alpha * KL(b_t || b_s) + beta * KL(q_t || q_s))``, mean over the batch, where ``b`` is the
probability of the labelled class against all others and ``q`` the distribution among the others;
logits ``(N, classes)``. Not in torchdistill.

Source: Zhao et al., Decoupled Knowledge Distillation
(https://arxiv.org/abs/2203.08679).
"""

from typing import TYPE_CHECKING

from squeeze.distillation.traits import Traits, Views
from squeeze.recipe.schema import Block, NonNegative, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from squeeze.distillation.parts import Term

TRAITS = Traits(needs="logits", task="classification", weight=0.25)


class Options(Block):
    """What can be set.

    Attributes:
        temperature: Softens both distributions: 1 keeps probabilities as they are.
        alpha: Weight of the target class.
        beta: Weight of the other classes.
    """

    temperature: Positive = 4.0
    alpha: NonNegative = 1.0
    beta: NonNegative = 8.0


def build(options: Options, student: Views, teacher: Views) -> "Term":
    """Return the loss."""
    del student, teacher
    from squeeze.distillation import parts

    def compute(student: Views, teacher: Views, labels: "Tensor") -> "Tensor":
        target, others = decoupled(
            student.logits / options.temperature, teacher.logits / options.temperature, labels
        )
        return options.temperature**2 * (options.alpha * target + options.beta * others)

    return parts.Term(compute)


def decoupled(student: "Tensor", teacher: "Tensor", labels: "Tensor") -> "tuple[Tensor, Tensor]":
    """Return the divergences of target class and other classes, each a mean over the batch.

    Args:
        student: Softened logits ``(N, classes)``.
        teacher: The same of the teacher.
        labels: Class indices ``(N,)``.
    """
    import torch
    from torch.nn import functional

    target = functional.one_hot(labels, student.shape[1]).bool()
    binary, others = [], []
    for logits in (student, teacher):
        rest = logits[~target].view(len(logits), -1)
        whole = torch.logsumexp(logits, dim=1)
        parts = [logits[target] - whole, torch.logsumexp(rest, dim=1) - whole]
        binary.append(torch.stack(parts, dim=1))
        others.append(functional.log_softmax(rest, dim=1))
    first, second = (
        functional.kl_div(pair[0], pair[1], reduction="batchmean", log_target=True)
        for pair in (binary, others)
    )
    return first, second
