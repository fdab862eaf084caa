"""First-order Taylor expansion: how much the loss would change without the channel.

Scores are not normalised: they are in units of the loss, and so comparable between groups. As in
Torch-Pruning 1.6.1, batch norms, depthwise weights, biases and bare parameters do not count.

Source: Molchanov et al., Importance Estimation for Neural Network Pruning
(https://arxiv.org/abs/1906.10771), equation 8; summed over a group's weights as in DepGraph.
"""

from squeeze.methods.prune.importance.base import Evidence, Scorer

NEEDS_DATA = True
IN_LOSS_UNITS = True


def scorer(evidence: Evidence) -> Scorer:
    """Accumulate the loss's gradient over all samples; Torch-Pruning multiplies it by weights."""
    from torch_pruning import importance

    count = 0
    for images, labels in evidence.batches():
        (evidence.loss_of(images, labels) * len(images)).backward()  # type: ignore[no-untyped-call]
        count += len(images)
    for parameter in evidence.module.parameters():
        if parameter.grad is not None:
            parameter.grad /= count
    return importance.GroupTaylorImportance(  # type: ignore[no-any-return]
        group_reduction="sum", normalizer=None
    )
