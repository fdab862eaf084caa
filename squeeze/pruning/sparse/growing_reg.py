"""Weight decay whose strength keeps growing, fastest for the weakest channels.

Source: Wang et al., Neural Pruning via Growing Regularization (https://arxiv.org/abs/2012.09243),
section 3.2, with the group version of DepGraph: every 10 steps a channel's strength grows by
``strength * (I_max - I) / (I_max - I_min)``, ``I`` its squared group norm.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from squeeze.pruning.sparse.base import GroupWeights, Regularizer

if TYPE_CHECKING:
    from torch import Tensor

_EVERY = 10
_EPSILON = 1e-12


def regularizer(groups: Sequence[GroupWeights], strength: float) -> Regularizer:
    """Return the module that changes the gradients of one training step.

    What has grown is in its buffers, so that a killed training resumes with it.
    """
    import torch
    from torch import nn

    class Growing(nn.Module):
        steps: "Tensor"
        grown: "Tensor"

        def __init__(self) -> None:
            super().__init__()
            channels = sum(group.channels for group in groups)
            self.register_buffer("steps", torch.zeros((), dtype=torch.long))
            self.register_buffer("grown", torch.zeros(channels))

        def forward(self) -> None:
            """Let the strengths grow where it is time, and pull."""
            grows = int(self.steps) % _EVERY == 0
            parts = torch.split(self.grown, [group.channels for group in groups])
            for group, reached in zip(groups, parts, strict=True):
                norm = group.squared_norms()
                if grows:
                    spread = norm.max() - norm.min() + _EPSILON
                    reached += strength * (norm.max() - norm) / spread  # noqa: PLW2901  (a view)
                group.decay_(reached)
            self.steps += 1

    return Growing()
