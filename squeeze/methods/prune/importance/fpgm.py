"""Distance of a filter to all others: those near the geometric median can be replaced by the rest.

Source: He et al., Filter Pruning via Geometric Median (https://arxiv.org/abs/1811.00250), eq. 6.
"""

from squeeze.methods.prune.importance.base import Evidence, Scorer

NEEDS_DATA = False
IN_LOSS_UNITS = False


def scorer(evidence: Evidence) -> Scorer:
    """Return Torch-Pruning's group version of it."""
    del evidence
    from torch_pruning import importance

    return importance.FPGMImportance(p=2)  # type: ignore[no-any-return]
