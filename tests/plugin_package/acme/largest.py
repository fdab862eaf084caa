"""The largest norm that one layer gives a channel, over the layers that share it."""

from squeeze.pruning.importance.base import Evidence, Scorer

NEEDS_DATA = False
IN_LOSS_UNITS = False


def scorer(evidence: Evidence) -> Scorer:
    """Return Torch-Pruning's group magnitude, reduced by the maximum."""
    del evidence
    from torch_pruning import importance

    found: Scorer = importance.GroupMagnitudeImportance(p=2, group_reduction="max")
    return found
