"""Split scikit-learn's scans into the two parts."""

from pathlib import Path

import numpy as np

from squeeze.data.samples import ArraySamples
from squeeze.recipe.schema import DataSource

_BRIGHTEST = 16
_HELD_OUT = 0.3


def open_samples(source: DataSource, folder: Path, split: str) -> ArraySamples:
    """Return the train part (1257 scans) or the validation part (540), stratified and fixed."""
    del source, folder
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    parts = train_test_split(
        np.arange(len(digits.target)), test_size=_HELD_OUT, stratify=digits.target, random_state=0
    )
    chosen = np.sort(parts[0 if split == "train" else 1])
    images = np.rint(digits.images[chosen] * (255 / _BRIGHTEST)).astype(np.uint8)
    return ArraySamples(
        images,
        digits.target[chosen].astype(np.int64),
        [str(name) for name in digits.target_names],
        f"digits:{split}",
    )
