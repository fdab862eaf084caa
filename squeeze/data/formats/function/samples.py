"""Wrap a map-style dataset."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, SupportsInt, cast

import numpy as np

from squeeze.core import reading
from squeeze.core.boxes import Boxes, areas_of
from squeeze.core.errors import InputError
from squeeze.data import image_files
from squeeze.data.annotations.classes import MOST_CLASSES
from squeeze.data.annotations.faults import ROUNDING_PX
from squeeze.data.samples import CorruptImageError, Samples, content_hash
from squeeze.models import reference
from squeeze.recipe.schema import DataSource

if TYPE_CHECKING:
    from PIL.Image import Image

    from squeeze.data.samples import Picture


_TENSOR_RANK = 3
_PIXELS = {(2,), (3, 3), (3, 4)}
"""Dimensions and channels of the uint8 arrays that are pictures."""


class MapDataset(Protocol):
    """A dataset as torch knows them: items by index."""

    def __len__(self) -> int:
        """Return the number of items."""
        ...

    def __getitem__(self, index: int) -> object:
        """Return an image with its label."""
        ...


class DatasetSamples:
    """A map-style dataset as ``Samples``."""

    def __init__(self, dataset: MapDataset, where: str) -> None:
        self.dataset, self.where = dataset, where
        self._labels: dict[int, int | Boxes] = {}
        self._sizes: dict[int, tuple[int, int]] = {}
        self.classes: Sequence[str] = self._classes()

    def __len__(self) -> int:
        return len(self.dataset)

    def name(self, index: int) -> str:
        """Return the factory and index."""
        return f"{self.where}[{index}]"

    def label(self, index: int) -> int | Boxes:
        """Return the class index, or the boxes."""
        if index not in self._labels:
            self._item(index)
        return self._labels[index]

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of the image."""
        if index not in self._sizes:
            self._item(index)
        return self._sizes[index]

    def picture(self, index: int) -> "Picture":
        """Return the item's image."""
        return _as_picture(self._item(index), self.name(index))

    def digest(self, index: int) -> bytes:
        """Return a hash of the pixels."""
        return content_hash(np.asarray(self.picture(index)))

    def _item(self, index: int) -> object:
        from PIL import Image

        corrupt = (OSError, Image.DecompressionBombError, Image.DecompressionBombWarning)
        try:
            item = self.dataset[index]
        except corrupt as error:
            raise CorruptImageError(f"{self.name(index)}: {reading.reason(error)}") from error
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"failed: {type(error).__name__}: {reading.reason(error)}", where=self.name(index)
            ) from error
        try:
            image, given = cast("tuple[object, object]", item)
            label = self._labels[index] = _as_label(given)
        except (TypeError, ValueError, KeyError, OverflowError):
            raise InputError(
                f"item {index} is a {type(item).__name__}, expected (image, class index) or "
                "(image, boxes)",
                where=self.where,
            ) from None
        if isinstance(label, Boxes) and index not in self._sizes:
            self._sizes[index] = _size_around(label, image, self.name(index))
        return image

    def _classes(self) -> Sequence[str]:
        named = getattr(self.dataset, "classes", None)
        if isinstance(named, Iterable) and not isinstance(named, str):
            return [str(name) for name in named]
        if named is not None:
            raise InputError(
                f"has the attribute classes {reading.shortened(named)}, expected a list of names",
                where=self.where,
            )
        most = max(self._numbers(), default=-1)
        if most >= MOST_CLASSES:
            raise InputError(f"has label {most}, allowed: below {MOST_CLASSES}", where=self.where)
        return [str(label) for label in range(most + 1)]

    def _numbers(self) -> list[int]:
        """Return every sample's class index, or the largest of its boxes."""
        targets = cast("Iterable[SupportsInt]", getattr(self.dataset, "targets", None))
        try:
            return [int(target) for target in targets]
        except (TypeError, ValueError, OverflowError):  # there are none, or they are something else
            return [self._largest(index) for index in range(len(self))]

    def _largest(self, index: int) -> int:
        """Return a sample's class index, or the largest of its boxes; -1 if it cannot be read."""
        try:
            label = self.label(index)
        except CorruptImageError:  # digest() reports it, by the recipe's rule for corrupt images
            return -1
        return int(label.classes.max(initial=-1)) if isinstance(label, Boxes) else label


def _as_label(label: object) -> int | Boxes:
    if isinstance(label, Boxes):
        return label
    if not isinstance(label, Mapping):
        number = int(cast("SupportsInt", label))
        if number != label:
            raise ValueError(f"{label} is not a class index")
        return number
    return Boxes.of(
        label["boxes"], label["labels"], ignored=label.get("iscrowd"), areas=label.get("area")
    )


def _size_around(boxes: Boxes, image: object, where: str) -> tuple[int, int]:
    """Return height and width of an image, after making sure that its boxes are inside."""
    picture = _as_picture(image, where)
    if not isinstance(picture, np.ndarray):
        height, width = picture.height, picture.width
    else:
        height, width = picture.shape[1:] if picture.dtype == np.float32 else picture.shape[:2]
    sides = (width, height, width, height)
    inside = np.isfinite(boxes.xyxy).all() and (areas_of(boxes.xyxy) > 0).all()
    if not inside or (np.abs(boxes.xyxy - np.clip(boxes.xyxy, 0, sides)) > ROUNDING_PX).any():
        raise InputError(
            f"has a box that is not in its picture of {width} x {height}, or without area",
            where=where,
        )
    return height, width


def _as_picture(image: object, where: str) -> "Picture":
    if hasattr(image, "detach"):
        array = image.detach().cpu().numpy()
        is_pixels = array.dtype == np.uint8 and array.ndim == _TENSOR_RANK
        image = np.ascontiguousarray(array.transpose(1, 2, 0)) if is_pixels else array
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim == _TENSOR_RANK and image.shape[2] == 1:
            image = image[..., 0]
        if image.dtype == np.uint8 and (image.ndim, *image.shape[2:]) in _PIXELS:
            return cast("Picture", image)
        if np.issubdtype(image.dtype, np.floating) and image.ndim == _TENSOR_RANK:
            return image.astype(np.float32)
        raise InputError(
            f"an image is {image.dtype} {image.shape}, expected uint8 (H, W[, C]) or "
            "float (C, H, W)",
            where=where,
        )
    if not hasattr(image, "convert"):
        raise InputError(
            f"an image is a {type(image).__name__}, expected PIL, array or tensor", where=where
        )
    try:
        return image_files.eight_bit(cast("Image", image))
    except ValueError as error:
        raise CorruptImageError(f"{where}: {error}") from error


def open_samples(source: DataSource, folder: Path, split: str) -> Samples:
    """Call the function; it is given ``split`` when it takes an argument of that name."""
    import inspect

    where = str(source.build)
    factory = reference.function(where, folder)
    args = dict(source.args)
    if "split" in inspect.signature(factory).parameters:
        args.setdefault("split", split)
    try:
        dataset = factory(**args)
    except InputError:
        raise
    except Exception as error:
        raise reference.failure(error, "failed", where=where) from error
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise InputError(
            f"returned a {type(dataset).__name__}, expected a map-style dataset "
            "(with __len__ and __getitem__)",
            where=where,
        )
    return DatasetSamples(dataset, where)
