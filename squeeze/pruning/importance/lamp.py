"""Magnitude over the sum of all magnitudes not smaller: comparable between layers by itself.

Made for ``ranking: global``; within one layer it ranks as the magnitude does.

Source: Lee et al., Layer-adaptive Sparsity for the Magnitude-based Pruning
(https://arxiv.org/abs/2010.07611), equation 2, on the scores of channels.
"""

from squeeze.pruning.importance.base import Evidence, Scorer

NEEDS_DATA = False
IN_LOSS_UNITS = False


def scorer(evidence: Evidence) -> Scorer:
    """Return Torch-Pruning's criterion."""
    del evidence
    from torch_pruning import importance

    return importance.LAMPImportance(p=2)  # type: ignore[no-any-return]
