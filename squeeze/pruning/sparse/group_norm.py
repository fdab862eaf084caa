"""Weight decay that grows with how weak a channel is in its whole group.

Source: Fang et al., DepGraph (https://arxiv.org/abs/2301.12900), equations 5 and 6: the strength of
a channel is multiplied by ``2 ** (4 * (I_max - I) / (I_max - I_min))``, ``I`` its group norm.
"""

from collections.abc import Sequence

from squeeze.pruning.sparse.base import GroupWeights, Regularizer

_ALPHA = 4.0
_EPSILON = 1e-12


def regularizer(groups: Sequence[GroupWeights], strength: float) -> Regularizer:
    """Return the function that changes the gradients of one training step."""

    def pull() -> None:
        for group in groups:
            norm = group.squared_norms().sqrt()
            weakness = (norm.max() - norm) / (norm.max() - norm.min() + _EPSILON)
            group.decay_(strength * 2 ** (_ALPHA * weakness))

    return pull
