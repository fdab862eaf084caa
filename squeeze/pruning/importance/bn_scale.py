"""Absolute batch-norm scale of a channel, averaged over its group's batch norms.

Says most after sparse training with ``sparse: {method: bn_scale}``. Groups without a batch norm
have no score and are left alone.

Source: Liu et al., Learning Efficient Convolutional Networks through Network Slimming
(https://arxiv.org/abs/1708.06519), section 3.
"""

from squeeze.pruning.importance.base import Evidence, Scorer

NEEDS_DATA = False
IN_LOSS_UNITS = False


def scorer(evidence: Evidence) -> Scorer:
    """Return Torch-Pruning's criterion."""
    del evidence
    from torch_pruning import importance

    return importance.BNScaleImportance()  # type: ignore[no-any-return]
