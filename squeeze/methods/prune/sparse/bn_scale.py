"""L1 penalty on the scales of batch norms: network slimming. Goes with ``importance: bn_scale``.

Source: Liu et al., Learning Efficient Convolutional Networks through Network Slimming
(https://arxiv.org/abs/1708.06519), equation 1, by the subgradient as in its section 3.
"""

from collections.abc import Sequence

from squeeze.methods.prune.sparse.base import GroupWeights, Regularizer


def regularizer(groups: Sequence[GroupWeights], strength: float) -> Regularizer:
    """Return the function that changes the gradients of one training step."""
    scales = [norm for group in groups for norm in group.batch_norms()]

    def pull() -> None:
        for norm in scales:
            if norm.weight.grad is not None:
                norm.weight.grad += strength * norm.weight.detach().sign()

    return pull
