"""Open the train, calibration and validation sets, and make sure that they are what they claim."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from squeeze.core import plugins
from squeeze.core.boxes import Boxes, Placement
from squeeze.core.errors import InputError
from squeeze.data import checks, class_names, preprocessing, synthetic
from squeeze.data.cache import EqualImages, UnequalImages, limit_bytes
from squeeze.data.formats.base import CorruptImageError, Samples
from squeeze.recipe import dataset_formats
from squeeze.recipe.schema import (
    CalibrationDraw,
    DataBlock,
    DataSource,
    InputSpec,
    SyntheticCalibration,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from squeeze.core.types import Progress
    from squeeze.data.formats.base import Picture

    Batch = tuple[NDArray[np.float32], Any]


_LOOKED_AT = 16
"""Pictures that tell the size of all."""


@dataclass(frozen=True)
class Split:
    """Some samples of a dataset, preprocessed on reading.

    Attributes:
        samples: The dataset.
        indices: Which of its samples, in order.
        digests: Their content hashes.
        spec: The preprocessing.
        keep: Whether images may be kept in memory, as long as they fit (``cache.limit_bytes``).
        notes: What a reader should know, for example skipped files.
        drawn: Where drawn samples came from, and the seed.
    """

    samples: Samples
    indices: Sequence[int]
    digests: Sequence[bytes]
    spec: InputSpec
    keep: bool = False
    notes: tuple[str, ...] = ()
    drawn: str = ""

    def __len__(self) -> int:
        return len(self.indices)

    @cached_property
    def labels(self) -> Any:  # noqa: ANN401 - what it is depends on the samples
        """Class indices ``(N,)`` int64, or a list of N ``Boxes`` in pixels of the input."""
        if self.has_boxes:
            return [boxes.into(self.placement(p)) for p, boxes in enumerate(self.truth)]
        return np.array([self.samples.label(i) for i in self.indices], np.int64)

    @cached_property
    def has_boxes(self) -> bool:
        """Whether samples are labelled with boxes, and not with a class."""
        return len(self) > 0 and isinstance(self.samples.label(self.indices[0]), Boxes)

    @cached_property
    def truth(self) -> list[Boxes]:
        """The boxes of every sample, in pixels of its picture: what detections are scored with."""
        return [self.samples.label(index) for index in self.indices]

    def placement(self, position: int) -> Placement:
        """Return how the picture of a sample with boxes lies in the model's input."""
        size = self.samples.size(self.indices[position])  # type: ignore[attr-defined]  # BoxedSamples
        return preprocessing.placement(size, self.spec)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all contents and labels, in order."""
        whole = hashlib.blake2b(digest_size=16)
        if self.has_boxes:
            for boxes in self.truth:
                for part in (boxes.xyxy, boxes.classes, boxes.ignored):
                    whole.update(part.tobytes())
        else:
            whole.update(self.labels.tobytes())
        for digest in self.digests:
            whole.update(digest)
        return whole.hexdigest()

    def batch(self, positions: "Sequence[int] | NDArray[np.int64]") -> "Batch":
        """Return model inputs ``(n, C, H, W)`` float32 and labels at these positions.

        Labels are classes ``(n,)``, or a list of ``Boxes`` in pixels of the input.
        """
        chosen = np.asarray(positions, np.int64)
        images = preprocessing.normalise(self._prepared.take(chosen, self._fit), self.spec)
        if self.has_boxes:
            return images, [self.labels[position] for position in chosen]
        return images, self.labels[chosen]

    def batches(self, size: int) -> "Iterator[Batch]":
        """Iterate over the whole split in order; one batch is prepared ahead."""
        starts = range(0, len(self), size)
        with ThreadPoolExecutor(1) as ahead:
            pending = None
            for start in starts:
                following = ahead.submit(self.batch, range(start, min(start + size, len(self))))
                if pending is not None:
                    yield pending.result()
                pending = following
            if pending is not None:
                yield pending.result()

    def name(self, position: int) -> str:
        """Return what messages call a sample."""
        return self.samples.name(self.indices[position])

    def take(self, positions: Sequence[int]) -> "Split":
        """Return a smaller split."""
        return replace(
            self,
            indices=[self.indices[p] for p in positions],
            digests=[self.digests[p] for p in positions],
        )

    def image(self, position: int) -> "NDArray[Any]":
        """Return one image ``(C, H, W)`` of the model's size: uint8, or float32 as it came."""
        image: NDArray[Any] = self._prepared.take(np.array([position]), self._fit)[0]
        return image

    def original(self, position: int) -> "NDArray[Any]":
        """Return one picture ``(C, h, w)`` of its own size, in the model's colours."""
        return self._originals.take(position, self._decode)

    def read_ahead(self, *, originals: bool) -> None:
        """Read all images that can be kept, so that forked processes share them.

        Args:
            originals: Of their own size; else prepared for the model.
        """
        if not self.keep:
            return
        read = self.original if originals else self.image
        read(0)  # makes room for all of them, which threads must not do at the same time
        with ThreadPoolExecutor() as pool:
            for _ in pool.map(read, range(len(self))):
                pass

    @cached_property
    def _prepared(self) -> EqualImages:
        return EqualImages(len(self), limit_bytes() if self.keep else 0)

    @cached_property
    def _originals(self) -> UnequalImages:
        return UnequalImages(limit_bytes() if self.keep else 0)

    def _fit(self, position: int) -> "NDArray[Any]":
        return preprocessing.fit(self._picture(position), self.spec, self.name(position))

    def _decode(self, position: int) -> "NDArray[Any]":
        return preprocessing.pixels(self._picture(position), self.spec, self.name(position))

    def sizes(self) -> list[tuple[int, int]]:
        """Return height and width of a few pictures, evenly spaced; of prepared floats none."""
        count = min(_LOOKED_AT, len(self))
        found = (self._picture(i * len(self) // count) for i in range(count))
        return [
            (one.shape[0], one.shape[1]) if isinstance(one, np.ndarray) else (one.height, one.width)
            for one in found
            if not isinstance(one, np.ndarray) or one.dtype == np.uint8
        ]

    def _picture(self, position: int) -> "Picture":
        index = self.indices[position]
        try:
            return self.samples.picture(index)
        except CorruptImageError as error:
            raise InputError(
                f"cannot be decoded any more: {error}", where=self.samples.name(index)
            ) from error


@dataclass(frozen=True)
class Data:
    """The three sets, checked."""

    validation: Split
    train: Split | None
    calibration: Split | None
    classes: Sequence[str]


@dataclass(frozen=True)
class Opening:
    """How to open sets: where paths start, the model's input, the seed.

    Attributes:
        classes: What the model's outputs are, in order; empty where nothing says it. A recipe's
            ``classes`` count more.
        module: The float model, which synthetic calibration images are fitted to.
    """

    folder: Path
    spec: InputSpec
    seed: int
    progress: "Progress"
    module: "nn.Module | None" = None
    classes: Sequence[str] = ()


def open_data(block: DataBlock, opening: Opening, *, trains: bool, calibrates: bool) -> Data:
    """Open, scan and check the sets that the run needs.

    Args:
        block: The recipe's data block.
        opening: Shared settings.
        trains: Whether anything trains.
        calibrates: Whether anything calibrates.

    Returns:
        The sets; ``spec`` of each says how images are prepared, also where the opening's left it to
        their size.

    Raises:
        InputError: Empty or one-class data, corrupt images, sets that disagree or overlap.
    """
    validation = _open(block.validation, "validation", opening, keep=trains)
    validation = replace(validation, spec=preprocessing.settled(opening.spec, validation.sizes))
    opening = replace(opening, spec=validation.spec)
    draw = block.calibration if calibrates else None
    from_train = isinstance(draw, CalibrationDraw) and draw.source == "train"
    train = None
    if block.train is not None and (trains or from_train):
        train = _open(block.train, "train", opening, keep=trains)
    calibration = None
    if isinstance(draw, CalibrationDraw):
        calibration, validation = _draw(draw, train, validation, opening.seed)
    elif isinstance(draw, SyntheticCalibration):
        calibration = _made_up(draw, opening)
    elif draw is not None:
        calibration = _open(draw, "calibration", opening, keep=False)
    if train is not None:
        checks.same_classes(train, validation)
        train = checks.without_overlap(
            train, validation, drop=block.on_overlap == "drop_from_train"
        )
        if from_train and calibration is not None:
            hidden = set(validation.digests)
            calibration = calibration.take(
                [p for p, d in enumerate(calibration.digests) if d not in hidden]
            )
    if calibration is not None and not from_train:
        checks.refuse_overlap("calibration", calibration, validation)
    if calibration is not None:
        calibration = checks.enough(calibration)
        for note in calibration.notes:
            opening.progress.say(note)
    return Data(validation, train, calibration, validation.samples.classes)


def _open(source: DataSource, role: str, opening: Opening, *, keep: bool) -> Split:
    module = plugins.load(plugins.DATASETS, source.format)
    part = source.split or ("validation" if role == "validation" else "train")
    where = f"data.{role}"
    for place, what in dataset_formats.wrong_args(source):
        raise InputError(what, where=".".join((where, *map(str, place))))
    samples: Samples = module.open_samples(source, opening.folder, part)
    if len(samples) == 0:
        raise InputError("is empty", where=where)
    samples = class_names.in_order(samples, source.classes or (), opening.classes, where)
    chosen = np.arange(len(samples))
    if source.samples is not None:
        if source.samples > len(samples):
            raise InputError(
                f"asks for {source.samples} samples and has {len(samples)}",
                where=f"{where}.samples",
            )
        drawn = np.random.default_rng(opening.seed).permutation(len(samples))
        chosen = np.sort(drawn[: source.samples])
    indices, digests, corrupt = _scan(samples, chosen, role, opening.progress)
    notes = checks.handle_corrupt(corrupt, len(chosen), source.on_corrupt, where)
    notes += tuple(f"{where}: {note}" for note in getattr(samples, "notes", ()))
    origin = "" if source.samples is None else f"drawn with seed {opening.seed}"
    split = Split(samples, indices, digests, opening.spec, keep, notes, origin)
    return checks.check_labels(split, where, only_looked_at=role == "calibration")


def _made_up(block: SyntheticCalibration, opening: Opening) -> Split:
    if opening.module is None:
        raise InputError("needs the model", where="data.calibration")
    made = synthetic.make(block, opening.module, opening.spec, opening.seed, opening.progress)
    every = range(len(made))
    digests = [made.digest(index) for index in every]
    drawn = f"of SYNTHETIC images, made with seed {opening.seed},"
    return Split(made, every, digests, opening.spec, notes=made.notes, drawn=drawn)


def _scan(
    samples: Samples, chosen: "NDArray[np.int64]", role: str, progress: "Progress"
) -> tuple[list[int], list[bytes], list[str]]:
    """Decode and hash every sample once."""
    indices, digests, corrupt = list[int](), list[bytes](), list[str]()

    def look(index: int) -> bytes | CorruptImageError:
        try:
            return samples.digest(index)
        except CorruptImageError as error:
            return error

    with (
        progress.task(f"reading {role} data", len(chosen)) as advance,
        ThreadPoolExecutor(2) as pool,
    ):
        for index, found in zip(chosen.tolist(), pool.map(look, chosen.tolist()), strict=True):
            advance()
            if isinstance(found, bytes):
                indices.append(index)
                digests.append(found)
            else:
                corrupt.append(str(found))
    return indices, digests, corrupt


def _draw(
    draw: CalibrationDraw, train: Split | None, validation: Split, seed: int
) -> tuple[Split, Split]:
    pool = validation if draw.source == "validation" else train
    available = 0 if pool is None else len(pool)
    takes_all = draw.source == "validation" and draw.samples == available
    if pool is None or draw.samples > available or takes_all:
        raise InputError(
            f"asks for {draw.samples} samples, data.{draw.source} has {available}"
            + (" and would have none left" if takes_all else ""),
            where="data.calibration.samples",
        )
    order = np.random.default_rng(seed).permutation(len(pool))
    drawn = replace(
        pool.take(np.sort(order[: draw.samples]).tolist()),
        keep=False,
        drawn=f"drawn from {draw.source} with seed {seed}",
    )
    if draw.source == "train":
        return drawn, validation
    return drawn, pool.take(np.sort(order[draw.samples :]).tolist())
