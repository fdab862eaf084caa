"""Whether a model starts from trained weights, as far as its block says."""

import json
from contextlib import suppress
from pathlib import Path

from squeeze.recipe.schema import RANDOM, ModelBlock

LIBRARIES = ("builtin", "torchvision", "timm", "transformers")
"""Whose factories draw weights at random unless ``args`` say otherwise.

A factory of the user's own may load its weights itself, so it is trusted to do so.
"""

_LOADS = {
    "torchvision": ("weights", "pretrained"),
    "timm": ("pretrained", "checkpoint_path"),
}
"""Arguments with which a library's factory loads weights."""


def reason(block: ModelBlock, folder: Path) -> str | None:
    """Return which part of a model would be random without the recipe asking for it, or None.

    Args:
        block: Of a model that no baseline training precedes.
        folder: Where its relative paths start.
    """
    if block.weights == RANDOM:
        return None
    if block.stored_weights is not None:
        return _new_heads(block, folder)
    library = (block.build or "").partition(":")[0].partition(".")[0]
    if library not in LIBRARIES or any(block.args.get(key) for key in _LOADS.get(library, ())):
        return None
    if block.backbone_weights is not None:
        return f"has weights for its backbone only: the rest of {block.build} would be random"
    return f"has no weights: {block.build} would be measured with random ones"


def cure(*, trains: bool) -> str:
    """Return what to do about it.

    Args:
        trains: Whether the recipe could train the model first.
    """
    train = ", train it ('baseline: {train: …}')" if trains else ""
    random = f"'weights: {RANDOM}'"
    return f"; name its 'weights'{train}, or write {random} if that is meant"


def _new_heads(block: ModelBlock, folder: Path) -> str | None:
    """Check a folder of transformers: with another number of classes, layers start untrained."""
    wanted, record = block.args.get("num_labels"), folder / str(block.weights) / "config.json"
    if wanted is None or block.build is not None or not record.is_file():
        return None
    with suppress(ValueError, AttributeError, TypeError):  # damage is reported when it is loaded
        saved = json.loads(record.read_bytes())
        found = saved.get("num_labels") or len(saved["id2label"]) if "id2label" in saved else None
        if found is not None and found != wanted:
            return f"is saved for {found} classes: the layers for {wanted} would be random"
    return None
