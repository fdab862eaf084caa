"""Stripes that stand, lie or lean, drawn when they are asked for."""

from pathlib import Path

import numpy as np

from squeeze.core.specs import FormatSpec
from squeeze.data.samples import ArraySamples
from squeeze.recipe.schema import Block, Count, DataSource

SPEC = FormatSpec("classes", uses=("args", "split"))

_CLASSES = ("standing", "lying", "leaning")


class Options(Block):
    """What ``args`` may hold.

    Attributes:
        images: How many.
        side: Pixels of a side.
    """

    images: Count = 96
    side: Count = 12


def open_samples(source: DataSource, folder: Path, split: str) -> ArraySamples:
    """Return grey images with a stripe pattern each; the label is its direction."""
    del folder
    chosen = Options.model_validate(source.args)
    rng = np.random.default_rng(1 if split == "train" else 2)
    labels = np.arange(chosen.images) % len(_CLASSES)
    rows, columns = np.mgrid[: chosen.side, : chosen.side]
    ways = np.stack([columns, rows, rows + columns])[labels]
    phase = rng.uniform(0, 2 * np.pi, (chosen.images, 1, 1))
    noise = rng.normal(0, 20, ways.shape)
    images = (127 + 90 * np.sin(ways * 1.5 + phase) + noise).clip(0, 255).astype(np.uint8)
    return ArraySamples(images, labels.astype(np.int64), _CLASSES, f"stripes:{split}")
