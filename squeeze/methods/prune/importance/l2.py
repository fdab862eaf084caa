"""Magnitude: the L2 norm of all weights that a channel owns, averaged over its group.

Source: Li et al., Pruning Filters for Efficient ConvNets (https://arxiv.org/abs/1608.08710), summed
over coupled layers as in Fang et al., DepGraph (https://arxiv.org/abs/2301.12900), equation 4.
"""

from typing import Any


def build() -> Any:  # noqa: ANN401  (Torch-Pruning ships no types)
    """Return Torch-Pruning's criterion."""
    from torch_pruning import importance

    return importance.GroupMagnitudeImportance(p=2)
