"""The bank of recent embeddings that contrastive distillation draws its negatives from."""

from typing import TYPE_CHECKING

import torch  # noqa: TID253  (imported only to train)
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

from squeeze.core.errors import InputError
from squeeze.distillation import mid_level

if TYPE_CHECKING:
    from torch import Tensor


class MemoryBank(nn.Module):
    """Two embeddings and a queue of their recent outputs: the loss of one layer pair.

    Args:
        widths: ``(D_s, D_t)`` of the student's and the teacher's vectors.
        width: Of both embeddings.
        size: Embeddings that the queue holds.
        negatives: Of them, drawn for each sample.
        temperature: Divides the similarities.
    """

    labels: "Tensor"
    next: "Tensor"

    def __init__(
        self,
        widths: tuple[int, int],
        *,
        width: int,
        size: int,
        negatives: int,
        temperature: float,
    ) -> None:
        super().__init__()
        self.student, self.teacher = (nn.Linear(own, width) for own in widths)
        self.contrast = mid_level.contrast(width, size, negatives, temperature)
        self.negatives = negatives
        self.register_buffer("labels", torch.full((size,), -1))
        self.register_buffer("next", torch.zeros((), dtype=torch.long))

    def forward(self, student: "Tensor", teacher: "Tensor", labels: "Tensor") -> "Tensor":
        """Return the loss of vectors ``(N, D_s)`` and ``(N, D_t)``, and put them into the queue."""
        size = len(self.labels)
        if len(labels) >= size:
            raise InputError(
                f"a batch of {len(labels)} does not fit into a bank of {size}",
                where="crd",
                hint="set options.bank to several times the batch size",
            )
        own = functional.normalize(self.student(student))
        goal = functional.normalize(self.teacher(teacher))
        slots = (torch.arange(len(labels), device=labels.device) + self.next) % size
        self.next.copy_((self.next + len(labels)) % size)
        self._put(slots, own, goal, labels)
        return mid_level.contrast_value(self.contrast, own, goal, slots, self._candidates(slots))

    def _put(self, slots: "Tensor", own: "Tensor", goal: "Tensor", labels: "Tensor") -> None:
        with torch.no_grad():
            mid_level.bank_of(self.contrast, "student").index_copy_(0, slots, own.detach())
            mid_level.bank_of(self.contrast, "teacher").index_copy_(0, slots, goal.detach())
            self.labels.index_copy_(0, slots, labels)

    def _candidates(self, slots: "Tensor") -> "Tensor":
        """Return each sample's own slot and, after it, slots of other labels."""
        others = self.labels[None, :] != self.labels[slots][:, None]
        filled = (self.labels >= 0)[None, :].expand_as(others)
        allowed = others & filled
        lonely = ~allowed.any(dim=1, keepdim=True)  # a batch of one class, at the very start
        weights = torch.where(lonely, filled, allowed).float()
        drawn = torch.multinomial(weights, self.negatives, replacement=True)
        return torch.cat([slots[:, None], drawn], dim=1)
