"""Squared L2 norm of all weights that a channel owns, averaged over its group.

As in Torch-Pruning, weights are those of convolutions, linear layers, batch and layer norms;
depthwise weights, biases and bare parameters do not count.

Source: Li et al., Pruning Filters for Efficient ConvNets (https://arxiv.org/abs/1608.08710), summed
over coupled layers as in Fang et al., DepGraph (https://arxiv.org/abs/2301.12900), equation 4.
"""

from squeeze.pruning.importance.base import Evidence, Scorer

NEEDS_DATA = False
IN_LOSS_UNITS = False


def scorer(evidence: Evidence) -> Scorer:
    """Return Torch-Pruning's group magnitude with p = 2."""
    del evidence
    from torch_pruning import importance

    return importance.GroupMagnitudeImportance(p=2)  # type: ignore[no-any-return]
