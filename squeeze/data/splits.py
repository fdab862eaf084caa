"""Some samples of a dataset, prepared for the model as they are read."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np

from squeeze.core.boxes import Boxes, Placement
from squeeze.core.errors import InputError
from squeeze.data import preprocessing
from squeeze.data.cache import EqualImages, UnequalImages, limit_bytes
from squeeze.data.samples import CorruptImageError, Samples
from squeeze.recipe.schema import (
    InputSpec,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from squeeze.data.samples import Batch, BoxedSamples, Labels, Picture, Pixels


_LOOKED_AT = 16
"""Number of pictures whose sizes are taken for those of all."""


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
    def labels(self) -> "Labels":
        """Class indices ``(N,)`` int64, or a list of N ``Boxes`` in pixels of the input."""
        return self.input_boxes if self.has_boxes else self.class_indices

    @cached_property
    def class_indices(self) -> "NDArray[np.int64]":
        """Class indices ``(N,)`` of samples that are labelled with a class."""
        return np.array([self.samples.label(index) for index in self.indices], np.int64)

    @cached_property
    def input_boxes(self) -> list[Boxes]:
        """The boxes of every sample, in pixels of the model's input."""
        return [boxes.into(self.placement(p)) for p, boxes in enumerate(self.truth)]

    @cached_property
    def has_boxes(self) -> bool:
        """Whether samples are labelled with boxes, and not with a class."""
        return len(self) > 0 and isinstance(self.samples.label(self.indices[0]), Boxes)

    @cached_property
    def truth(self) -> list[Boxes]:
        """The boxes of every sample, in pixels of its picture: what detections are scored with."""
        boxed = cast("BoxedSamples", self.samples)
        return [boxed.label(index) for index in self.indices]

    def placement(self, position: int) -> Placement:
        """Return how the picture of a sample with boxes lies in the model's input."""
        size = cast("BoxedSamples", self.samples).size(self.indices[position])
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
            whole.update(self.class_indices.tobytes())
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
            return images, [self.input_boxes[position] for position in chosen]
        return images, self.class_indices[chosen]

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

    def image(self, position: int) -> "Pixels":
        """Return one image ``(C, H, W)`` of the model's size: uint8, or float32 as it came."""
        image: Pixels = self._prepared.take(np.array([position]), self._fit)[0]
        return image

    def original(self, position: int) -> "Pixels":
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

    def _fit(self, position: int) -> "Pixels":
        return preprocessing.fit(self._picture(position), self.spec, self.name(position))

    def _decode(self, position: int) -> "Pixels":
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
