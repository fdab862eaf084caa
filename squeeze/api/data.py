"""What callers hand in as data: a DataLoader, a Dataset, tensors, or a recipe's data source.

A loader's images are taken as already preprocessed, as the caller's own model gets them. A loader
that goes through a whole map-style dataset stands for that dataset, so that images are read when
they are needed and augmentation is drawn anew; anything else is read once, into memory.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast, overload, runtime_checkable

import numpy as np
from pydantic import ValidationError

from squeeze.api.inputs import at_least_one
from squeeze.core.errors import InputError
from squeeze.data import checks
from squeeze.data.cache import limit_bytes
from squeeze.data.formats.function.samples import DatasetSamples
from squeeze.data.sets import Opening, open_data
from squeeze.data.splits import Split
from squeeze.recipe import explain
from squeeze.recipe.schema import CalibrationDraw, DataBlock, DataSource

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray
    from torch.utils.data import DataLoader, Dataset

    from squeeze.core.types import Progress
    from squeeze.recipe.schema import InputSpec

    DataLike: TypeAlias = (
        "DataLoader[object] | Dataset[object] | Iterable[object] | tuple[object, object] | str "
        "| Path | Mapping[str, object] | DataSource | DataBlock"
    )
    """Batches or items of ``(image, label)``, or what a recipe writes under ``data``."""

Role = Literal["train", "validation", "calibration"]

_BATCH_RANK, _IMAGE_RANK, _PAIR = 4, 3, 2
_WRAP = "yield pairs: ((batch['image'], batch['label']) for batch in loader)"


@runtime_checkable
class Items(Protocol):
    """Samples, images or labels, by their number."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __getitem__(self, index: int, /) -> object:
        """Return one."""
        ...


@dataclass(frozen=True)
class GivenData:
    """Data before the model is known.

    Attributes:
        role: What it is for.
        items: A map-style dataset of ``(image, class index)`` or ``(image, boxes)``.
        source: In place of items: what a recipe names.
        in_memory: Whether the items are tensors that were read already.
        batch_size: Of the loader that was given.
        classes: Names, where the dataset has them.
        notes: What the caller should know of how it was read.
    """

    role: Role
    items: "Items | None" = None
    source: DataSource | None = None
    in_memory: bool = False
    batch_size: int | None = None
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def shape(self) -> tuple[int, ...] | None:
        """``(C, H, W)`` of the first image if it is preprocessed."""
        if self.items is None:
            return None
        image = _pair(self.items[0])[0]
        is_float = getattr(image, "is_floating_point", lambda: False)()
        is_float |= isinstance(image, np.ndarray) and np.issubdtype(image.dtype, np.floating)
        shape = _shape(image)
        return shape if is_float and len(shape) == _IMAGE_RANK else None

    def split(
        self,
        spec: "InputSpec",
        classes: int | None,
        progress: "Progress",
        *,
        names: Sequence[str] = (),
        samples: int | None = None,
        seed: int = 0,
    ) -> Split:
        """Return the data as the engine takes it.

        Args:
            spec: What the model is fed.
            classes: How many classes the model knows; None leaves it to the caller to compare.
            progress: Where reading is shown.
            names: What the model calls its classes, in order, where it knows that.
            samples: At most so many, drawn by the seed.
            seed: Of the draw.

        Raises:
            InputError: Labels that are no classes of the model, images of another shape, images
                that cannot be read, or items that are no pairs.
        """
        if samples is not None:
            at_least_one(samples, "samples")
        if self.source is None:
            split = self._in_python(spec, classes or 0)
        else:
            opening = Opening(Path.cwd(), spec, seed, progress, classes=names)
            split = self._opened(self.source, opening)
        if samples is not None and samples < len(split):
            drawn = np.random.default_rng(seed).permutation(len(split))[:samples]
            split = split.take(np.sort(drawn).tolist())
        if classes is not None:
            self._check_count(split, classes)
        return checks.check_labels(split, self.role, only_looked_at=self.role == "calibration")

    def _check_count(self, split: Split, classes: int) -> None:
        count = len(split.samples.classes)
        if count != classes:
            raise InputError(
                f"names {count} classes and the model knows {classes}",
                where=self.role,
                hint="take a model that was trained on these classes",
            )

    def _opened(self, source: DataSource, opening: Opening) -> Split:
        """Read what a recipe names."""
        part = source.split or ("validation" if self.role == "validation" else "train")
        block = DataBlock(validation=source.model_copy(update={"split": part}))
        return open_data(block, opening, trains=False, calibrates=False).validation

    def _in_python(self, spec: "InputSpec", classes: int) -> Split:
        """Wrap the items; classes without names are numbered."""
        items = self.items if self.items is not None else ()
        named = _Named(items, self.classes or tuple(map(str, range(classes))))
        known = DatasetSamples(named, self.role)
        every = range(len(known))
        keep = not self.in_memory and self.role != "train"
        return Split(known, every, _Digests(known, every), spec, keep, self.notes)


def given_data(data: "DataLike | None", role: Role, *, most: int | None = None) -> GivenData:
    """Return what was given as data.

    Args:
        data: See ``DataLike``.
        role: What it is for; calibration needs no labels.
        most: Images that are going to be used; of what is read once, no more are kept.

    Raises:
        InputError: No data, an empty one, items that are no pairs (dicts, for example), or more
            than fits into memory.
    """
    if most is not None:
        at_least_one(most, "samples")
    if data is None:
        raise InputError("is needed and was not given", where=role)
    if isinstance(data, str | Path | Mapping | DataSource | DataBlock):
        return GivenData(role, source=_source(data, role))
    if isinstance(data, tuple) and len(data) == _PAIR and _is_batch(data[0]):
        return _checked(GivenData(role, _LabelledImages(data[0], data[1]), in_memory=True))
    whole = _whole_dataset(data)
    if whole is not None:
        names = getattr(whole, "classes", None)
        classes = tuple(map(str, names)) if isinstance(names, list | tuple) else ()
        size = getattr(data, "batch_size", None)
        return _checked(GivenData(role, whole, batch_size=size, classes=classes))
    if isinstance(data, Iterable):
        return _checked(_read(data, role, most))
    raise InputError(
        f"found a {type(data).__name__}, expected a DataLoader, a Dataset, a pair of tensors, or "
        "what a recipe writes under data",
        where=role,
    )


@dataclass(frozen=True)
class _Named:
    """A dataset with class names of its own."""

    items: "Items"
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> object:
        return self.items[index]


@dataclass(frozen=True)
class _LabelledImages:
    """Images ``(N, C, H, W)`` and labels ``(N,)``, item by item."""

    images: "Items"
    labels: "Items"

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise InputError(f"has {len(self.images)} images and {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[object, object]:
        return self.images[index], self.labels[index]


class _Digests(Sequence[bytes]):
    """Hashes of samples, each made when it is asked for."""

    def __init__(self, samples: DatasetSamples, indices: Sequence[int]) -> None:
        self._samples, self._indices = samples, indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, position: int) -> bytes: ...
    @overload
    def __getitem__(self, position: slice) -> list[bytes]: ...
    def __getitem__(self, position: int | slice) -> bytes | list[bytes]:
        if isinstance(position, slice):
            return [self._samples.digest(index) for index in self._indices[position]]
        return self._samples.digest(self._indices[position])


def _whole_dataset(data: object) -> "Items | None":
    """Return the map-style dataset that something is or goes through; None of anything else."""
    from torch.utils.data import DataLoader, RandomSampler, SequentialSampler, default_collate

    if isinstance(data, DataLoader):
        is_plain = data.collate_fn is default_collate
        samples_all = isinstance(data.sampler, SequentialSampler | RandomSampler)
        return _whole_dataset(data.dataset) if is_plain and samples_all else None
    if not isinstance(data, Items) or isinstance(data, Mapping) or not len(data):
        return None
    first = data[0]
    is_batches = isinstance(first, tuple | list) and bool(first) and _is_batch(first[0])
    return None if is_batches or _is_batch(first) else data


def _is_batch(value: object) -> bool:
    return len(_shape(value)) == _BATCH_RANK


def _shape(value: object) -> tuple[int, ...]:
    """Return the shape of a tensor or an array; nothing of anything else."""
    return tuple(getattr(value, "shape", ()))


def _pair(item: object) -> tuple[object, object]:
    """Return what was checked to be one."""
    first, second = cast("Iterable[object]", item)
    return first, second


def _checked(given: GivenData) -> GivenData:
    """Refuse data whose first item cannot be used."""
    if given.items is None or not len(given.items):
        raise InputError("is empty", where=given.role)
    _refuse_no_pair(given.items[0], given.role, "item")
    return given


def _refuse_no_pair(item: object, role: Role, kind: str) -> None:
    """Refuse what is no pair of images and labels, as a loader of dicts yields."""
    if isinstance(item, tuple | list) and len(item) == _PAIR:
        return
    keys = f" with the keys {', '.join(map(str, item))}" if isinstance(item, Mapping) else ""
    count = f" of {len(item)}" if isinstance(item, tuple | list) else ""
    raise InputError(
        f"the first {kind} is a {type(item).__name__}{count}{keys}, expected a pair (images, "
        "labels)",
        where=role,
        hint=_WRAP if keys else None,
    )


def _read(data: "Iterable[object]", role: Role, most: int | None) -> GivenData:
    """Read batches into memory, once."""
    images: list[object] = []
    labels: list[object] = []
    held = 0
    for batch in data:
        pixels, classes = _arrays(batch, role, "batch" if not images else "further batch")
        part = _LabelledImages(pixels, classes)
        images += [part.images[i] for i in range(len(part))]
        labels += [part.labels[i] for i in range(len(part))]
        held += pixels.nbytes
        if most is not None and len(images) >= most:
            break
        if held > limit_bytes():
            raise InputError(
                f"holds more than {limit_bytes() / 2**30:.1f} GiB, which is the most that is read "
                "into memory",
                where=role,
                hint="give the Dataset itself: its images are read when they are needed",
            )
    return GivenData(role, _LabelledImages(images[:most], labels[:most]), in_memory=True)


def _arrays(
    batch: object, role: Role, kind: str
) -> "tuple[NDArray[np.generic], NDArray[np.generic]]":
    """Return the images ``(n, C, H, W)`` and labels ``(n,)`` of a batch.

    Raises:
        InputError: It is no pair of them.
    """
    if role == "calibration" and _is_batch(batch):
        images = _array(batch)
        return images, np.zeros(len(images), np.int64)
    _refuse_no_pair(batch, role, kind)
    pixels, labels = _pair(batch)
    if not _is_batch(pixels):
        raise InputError(
            f"images of a batch are a {type(pixels).__name__} of shape {_shape(pixels)}, expected "
            "(N, C, H, W)",
            where=role,
        )
    return _array(pixels), _array(labels)


def _array(values: object) -> "NDArray[np.generic]":
    """Return numbers on the CPU, without the graph that made them."""
    from torch import Tensor

    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _source(data: object, role: Role) -> DataSource:
    """Return the part of a recipe's data that a role is about."""
    try:
        if isinstance(data, Mapping) and "validation" in data:
            data = DataBlock.model_validate(dict(data))
        if isinstance(data, DataBlock):
            return _of_block(data, role)
        value = str(data) if isinstance(data, Path) else data
        return DataSource.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key, what = ".".join(map(str, first["loc"])), explain.rule(dict(first))
        raise InputError(f"{key}: {what}" if key else what, where=role) from error


def _of_block(block: DataBlock, role: Role) -> DataSource:
    part = getattr(block, role)
    if isinstance(part, CalibrationDraw):
        drawn = getattr(block, part.source)
        part = drawn and drawn.model_copy(update={"samples": part.samples})
    if not isinstance(part, DataSource):
        raise InputError(f"the data block has no {role} images", where=role)
    return part
