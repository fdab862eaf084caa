"""Random scores: the control that any other criterion has to beat."""

from typing import Any


def build() -> Any:  # noqa: ANN401  (Torch-Pruning ships no types)
    """Return Torch-Pruning's criterion; it draws from torch's global generator."""
    from torch_pruning import importance

    return importance.RandomImportance()
