"""Read the rows of YOLO's label files.

A row is a box ``class centre_x centre_y width height``, an outline ``class x y x y x y …`` of three
corners or more, or, where ``data.yaml`` has ``kpt_shape: [count, dimensions]``, a box with key
points after it. All are shares of the picture's sides.
Source: https://docs.ultralytics.com/datasets/detect, …/segment and …/pose
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core import reading
from squeeze.core.errors import InputError
from squeeze.data.annotations.classes import MOST_CLASSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BOX = 5
_TRIANGLE = 7
_FARTHEST = 2
"""No share of a side comes near it; pixels do."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What one label file holds.

    Attributes:
        file: The label file, which need not be there.
        classes: Class numbers ``(n,)``.
        shares: Centre and sides ``(n, 4)`` as shares of the picture's.
        lines: Line numbers ``(n,)``.
        outlines: How many boxes were drawn around an outline.
        doubtful: A line that may be a triangle, or a box and two more numbers; 0 for none.
        surely_outlines: Whether an outline of more than three corners is among them.
    """

    file: Path
    classes: "NDArray[np.int64]"
    shares: "NDArray[np.float64]"
    lines: "NDArray[np.int64]"
    outlines: int = 0
    doubtful: int = 0
    surely_outlines: bool = False

    def __len__(self) -> int:
        return len(self.lines)


def read(file: Path, keypoints: int) -> Rows:
    """Read one label file; one that is missing has no rows.

    Args:
        file: The label file.
        keypoints: Numbers after the box of a row with key points; 0 where there are none.

    Raises:
        InputError: With file and line: not text, or a row that is no box.
    """
    lines = reading.lines(file) if reading.is_file(file) else []
    found, outlines, doubtful, outlined = [], 0, 0, False
    for number, line in lines:
        values = _numbers(line, f"{file}:{number}", keypoints)
        is_outline = len(values) > _BOX and len(values) != _BOX + keypoints
        if is_outline:
            outlines += 1
            outlined |= len(values) > _TRIANGLE
            if len(values) == _TRIANGLE and values[-1].is_integer():
                doubtful = doubtful or number
        found.append([*(_around(values) if is_outline else values[:_BOX]), number])
    table = np.array(found, np.float64).reshape(-1, _BOX + 1)
    numbers = table[:, [0, -1]].astype(np.int64)
    return Rows(file, numbers[:, 0], table[:, 1:_BOX], numbers[:, 1], outlines, doubtful, outlined)


def refuse_doubtful(rows: list[Rows]) -> None:
    """Refuse rows of seven columns that end in a whole number, unless the set has outlines.

    Raises:
        InputError: One could be a box with a confidence and a track's number.
    """
    if any(one.surely_outlines for one in rows):
        return
    for one in rows:
        if one.doubtful:
            raise InputError(
                "has 7 columns: a box with two more numbers (a confidence and a track?), or an "
                "outline of three corners",
                where=f"{one.file}:{one.doubtful}",
                hint="leave the further numbers out, or write four corners",
            )


def _numbers(line: str, where: str, keypoints: int) -> list[float]:
    shown = reading.shortened(line)
    try:
        values = [float(text) for text in line.split()]
    except ValueError:
        raise InputError(f"found '{shown}', which is not all numbers", where=where) from None
    posed = bool(keypoints) and len(values) == _BOX + keypoints
    is_outline = not keypoints and len(values) >= _TRIANGLE and len(values) % 2 == 1
    fits = len(values) == _BOX or posed or is_outline
    if not fits or not values[0].is_integer() or values[0] < 0:
        also = (
            f"with {keypoints} numbers of key points after it (kpt_shape in data.yaml)"
            if keypoints
            else "or the corners of an outline"
        )
        raise InputError(
            f"found '{shown}', expected a class number and four shares: class centre_x centre_y "
            f"width height, {also}; it has {len(values)} columns",
            where=where,
        )
    if values[0] >= MOST_CLASSES:
        raise InputError(f"found class {values[0]:g}, allowed: below {MOST_CLASSES}", where=where)
    if max(values[1:_BOX] if posed else values[1:]) > _FARTHEST:
        raise InputError(
            f"found '{shown}', expected shares of the picture's sides, not pixels", where=where
        )
    return values


def _around(values: list[float]) -> list[float]:
    """Return class, centre and sides of the box around an outline."""
    low_x, high_x, low_y, high_y = (end(values[first::2]) for first in (1, 2) for end in (min, max))
    return [values[0], (low_x + high_x) / 2, (low_y + high_y) / 2, high_x - low_x, high_y - low_y]
