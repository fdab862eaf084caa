"""L1 penalty on the scales of batch norms: network slimming. Goes with ``importance: bn_scale``.

Source: Liu et al., Learning Efficient Convolutional Networks through Network Slimming
(https://arxiv.org/abs/1708.06519), equation 1, by the subgradient as in its section 3.
"""

from collections.abc import Sequence

from squeeze.pruning.sparse.base import GroupWeights, Regularizer


def regularizer(groups: Sequence[GroupWeights], strength: float) -> Regularizer:
    """Return the function that changes the gradients of one training step."""
    # a norm behind a concatenation belongs to several groups, each with its own channels
    scales = [own for group in groups for own in group.batch_norms()]

    def pull() -> None:
        for norm, channels in scales:
            if norm.weight.grad is not None:
                own = channels.to(norm.weight.device)
                signs = norm.weight.detach()[own].sign()
                norm.weight.grad.index_add_(0, own, strength * signs)

    return pull
