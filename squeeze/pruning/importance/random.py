"""Random scores: the control that any other criterion has to beat."""

from squeeze.pruning.importance.base import Evidence, Scorer

NEEDS_DATA = False
IN_LOSS_UNITS = False


def scorer(evidence: Evidence) -> Scorer:
    """Return Torch-Pruning's criterion; it draws from torch's global generator."""
    del evidence
    from torch_pruning import importance

    return importance.RandomImportance()  # type: ignore[no-any-return]
