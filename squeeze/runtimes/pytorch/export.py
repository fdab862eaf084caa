"""Torch module → bundle."""

from pathlib import Path

from squeeze.models import bundle
from squeeze.models.types import Model


def export(model: Model, path: Path, *, batch_size: int = 1, log: Path | None = None) -> None:
    """Write a bundle.

    Args:
        model: What to write.
        path: The folder; it appears whole or not at all.
        batch_size: Ignored, bundles take any.
        log: Ignored, nothing is printed.
    """
    del batch_size, log
    bundle.save(model, path)
