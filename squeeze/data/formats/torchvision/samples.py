"""Construct a dataset class of torchvision."""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, cast

from squeeze.core import reading
from squeeze.core.errors import InputError, unknown_name
from squeeze.data.formats.function.samples import DatasetSamples
from squeeze.data.samples import Samples
from squeeze.recipe.schema import DataSource

if TYPE_CHECKING:
    from squeeze.data.formats.function.samples import MapDataset


def open_samples(source: DataSource, folder: Path, split: str) -> Samples:
    """Construct the class with ``root``, ``train``/``split`` and ``download=False`` filled in."""
    from torchvision import datasets

    name = str(source.name)
    found = getattr(datasets, name, None)
    if found is None or not inspect.isclass(found):
        raise InputError(unknown_name("torchvision dataset", name, datasets.__all__), where="data")
    takes = inspect.signature(found).parameters
    filled = {
        "root": str(folder / (source.path or ".")),
        "train": split == "train",
        "split": "train" if split == "train" else "test",
        "download": False,
    }
    args = {key: value for key, value in filled.items() if key in takes} | dict(source.args)
    try:
        dataset = found(**args)
    except Exception as error:
        raise InputError(
            f"{type(error).__name__}: {reading.reason(error)}",
            where=f"torchvision:{name}",
            hint="squeeze downloads nothing: put the files under 'path'",
        ) from error
    return DatasetSamples(cast("MapDataset", dataset), f"torchvision:{name}")
