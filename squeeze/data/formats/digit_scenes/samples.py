"""Draw the scenes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.boxes import Boxes
from squeeze.data.formats.digit_scenes import Options
from squeeze.data.formats.digits import samples as digits
from squeeze.data.samples import ArraySamples, content_hash
from squeeze.recipe.schema import DataSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from squeeze.data.samples import Picture

    Scene = tuple[NDArray[np.uint8], Boxes]


_SCENES = {"train": 480, "validation": 160}
_DIGIT_SIDES = (0.16, 0.4)
_VISIBLE = 0.25
_GAP_PX = 2
_TRIES = 20


@dataclass(frozen=True, eq=False)
class Scenes:
    """Scenes drawn when they are asked for, as ``BoxedSamples``.

    Attributes:
        scans: Where the digits come from.
        part: ``train`` or ``validation``.
        count: How many scenes.
        side: Pixels of a side.
        most: Digits in a scene, at most.
        seed: Decides everything, together with part and index.
    """

    scans: ArraySamples
    part: str
    count: int
    side: int
    most: int
    seed: int
    _boxes: dict[int, Boxes] = field(default_factory=dict, repr=False)

    @property
    def classes(self) -> Sequence[str]:
        """The ten digits."""
        return self.scans.classes

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        """Return part and index."""
        return f"digit_scenes:{self.part}[{index}]"

    def label(self, index: int) -> Boxes:
        """Return the boxes."""
        if index not in self._boxes:
            self._boxes[index] = _draw(self, index)[1]
        return self._boxes[index]

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width."""
        del index
        return self.side, self.side

    def picture(self, index: int) -> "Picture":
        """Return the pixels ``(side, side, 3)``."""
        pixels, self._boxes[index] = _draw(self, index)
        return pixels

    def digest(self, index: int) -> bytes:
        """Return a hash of the pixels."""
        return content_hash(np.asarray(self.picture(index)))


def open_samples(source: DataSource, folder: Path, split: str) -> Scenes:
    """Return the scenes of one part."""
    args = Options.model_validate(source.args)
    scans = digits.open_samples(source, folder, split)
    return Scenes(scans, split, args.scenes or _SCENES[split], args.side, args.most, args.seed)


def _draw(scenes: Scenes, index: int) -> "Scene":
    """Put digits on a background, none over another."""
    rng = np.random.default_rng([scenes.seed, scenes.part == "train", index])
    canvas = _background(rng, scenes.side)
    boxes: list[tuple[int, int, int, int]] = []
    labels: list[int] = []
    for _ in range(int(rng.integers(1, scenes.most + 1))):
        scan = int(rng.integers(len(scenes.scans)))
        ink = _enlarged(scenes.scans.picture(scan), rng, scenes.side)
        place = _free_place(rng, ink.shape, boxes, scenes.side)
        if place is None:
            continue
        left, top, right, bottom = place
        colour = _contrasting(rng, canvas[top:bottom, left:right])
        part = canvas[top:bottom, left:right]
        part += ink[..., None] * (colour - part)
        boxes.append(place)
        labels.append(scenes.scans.label(scan))
    canvas += rng.normal(0, 4, canvas.shape)
    return canvas.clip(0, 255).astype(np.uint8), Boxes.of(boxes, labels)


def _background(rng: np.random.Generator, side: int) -> "NDArray[np.float64]":
    """Return a colour with noise of several scales in it, ``(side, side, 3)`` in [0, 255]."""
    from PIL import Image

    canvas = np.ones((side, side, 3)) * rng.uniform(60, 195, 3)
    for cells, strength in ((3, 30.0), (9, 15.0), (33, 10.0)):
        noise = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        whole = Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)
        canvas += (np.asarray(whole, np.float64) / 127.5 - 1) * strength
    return canvas


def _enlarged(scan: "Picture", rng: np.random.Generator, side: int) -> "NDArray[np.float64]":
    """Return one digit's ink ``(h, w)`` in [0, 1], cut out tightly."""
    from PIL import Image

    low, high = _DIGIT_SIDES
    height = int(rng.uniform(low, high) * side)
    width = max(8, int(height * rng.uniform(0.8, 1.2)))
    large = Image.fromarray(np.asarray(scan)).resize((width, height), Image.Resampling.BICUBIC)
    ink = np.asarray(large, np.float64) / 255
    rows, columns = (np.flatnonzero((ink > _VISIBLE).any(axis)) for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _free_place(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    taken: Sequence[tuple[int, int, int, int]],
    side: int,
) -> tuple[int, int, int, int] | None:
    height, width = shape
    for _ in range(_TRIES):
        left = int(rng.integers(0, side - width + 1))
        top = int(rng.integers(0, side - height + 1))
        right, bottom = left + width, top + height
        if all(
            right + _GAP_PX <= x1
            or x2 + _GAP_PX <= left
            or bottom + _GAP_PX <= y1
            or y2 + _GAP_PX <= top
            for x1, y1, x2, y2 in taken
        ):
            return left, top, right, bottom
    return None


def _contrasting(rng: np.random.Generator, under: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return a colour well away from what lies under the digit, darker or lighter."""
    mean = under.mean()
    base = mean - rng.uniform(70, 110) if mean > 127 else mean + rng.uniform(70, 110)  # noqa: PLR2004
    colour: NDArray[np.float64] = base + rng.uniform(-25, 25, 3)
    return colour
