"""Boxes around outlines, for annotations that have no box of their own."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Corners = tuple[float, float, float, float]
_CORNERS = 3


def around(segmentation: object) -> tuple[Corners, float] | None:
    """Return the corners around COCO's ``segmentation`` and its area, in pixels.

    Args:
        segmentation: Polygons ``[[x, y, x, y, …], …]``, or runs of pixels, column by column, that
            are outside and inside in turns: ``{"size": [height, width], "counts": [n, …]}``, the
            counts maybe packed into a text.

    Returns:
        Corners and area; None where it is none of these, or empty.

    Source: https://cocodataset.org/#format-data
    """
    if isinstance(segmentation, list):
        polygons = [_points(part) for part in segmentation]
        known = [part for part in polygons if part is not None]
        if not known or len(known) < len(polygons):
            return None
        return _corners([point for part in known for point in part]), sum(map(_area, known))
    return _of_runs(segmentation) if isinstance(segmentation, dict) else None


def _points(numbers: object) -> list[tuple[float, float]] | None:
    """Return the corners of one polygon, or None where it is none."""
    if not isinstance(numbers, list) or len(numbers) < 2 * _CORNERS or len(numbers) % 2:
        return None
    if any(type(number) not in {int, float} for number in numbers):
        return None
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _corners(points: list[tuple[float, float]]) -> Corners:
    columns, rows = zip(*points, strict=True)
    return min(columns), min(rows), max(columns), max(rows)


def _area(points: list[tuple[float, float]]) -> float:
    """Return a polygon's area by the shoelace formula."""
    following = [*points[1:], points[0]]
    return abs(sum(x * y2 - x2 * y for (x, y), (x2, y2) in zip(points, following, strict=True))) / 2


def _of_runs(runs: dict[str, Any]) -> tuple[Corners, float] | None:
    size, counts = runs.get("size"), runs.get("counts")
    if not isinstance(size, list) or [type(side) for side in size] != [int, int]:
        return None
    inside = _unpacked(size, counts) if isinstance(counts, str) else _filled(size, counts)
    if inside is None or not inside.any():
        return None
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    corners = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    left, top, right, bottom = (float(number) for number in corners)
    return (left, top, right, bottom), float(inside.sum())


def _filled(size: list[int], counts: object) -> "NDArray[Any] | None":
    """Return the pixels ``(height, width)`` that plain runs describe."""
    if not isinstance(counts, list) or any(type(n) is not int or n < 0 for n in counts):
        return None
    if sum(counts) != size[0] * size[1]:
        return None
    return np.repeat(np.arange(len(counts)) % 2, counts).reshape(size[1], size[0]).T


def _unpacked(size: list[int], counts: str) -> "NDArray[Any] | None":
    from faster_coco_eval.core import mask

    try:
        found: NDArray[Any] = mask.decode({"size": size, "counts": counts.encode()})
    except (RuntimeError, ValueError):  # no packed runs, or those of another size
        return None
    return found
