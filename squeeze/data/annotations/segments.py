"""Boxes around outlines, for annotations that have no box of their own."""

import math

import numpy as np

Corners = tuple[float, float, float, float]
_CORNERS = 3
_MOST_PIXELS = 2**40
_ZERO, _MOST_BITS = 48, 60


def around(segmentation: object) -> tuple[Corners, float] | None:
    """Return the corners around COCO's ``segmentation`` and its area, in pixels.

    Args:
        segmentation: Polygons ``[[x, y, x, y, …], …]``, or runs of pixels, column by column, that
            are outside and inside alternately: ``{"size": [height, width], "counts": [n, …]}``, the
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
    if not all(type(number) in {int, float} and math.isfinite(number) for number in numbers):
        return None
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _corners(points: list[tuple[float, float]]) -> Corners:
    columns, rows = zip(*points, strict=True)
    return min(columns), min(rows), max(columns), max(rows)


def _area(points: list[tuple[float, float]]) -> float:
    """Return a polygon's area by the shoelace formula."""
    following = [*points[1:], points[0]]
    return abs(sum(x * y2 - x2 * y for (x, y), (x2, y2) in zip(points, following, strict=True))) / 2


def _of_runs(runs: dict[str, object]) -> tuple[Corners, float] | None:
    """Return what runs of pixels cover, without making the pixels: files may claim billions."""
    size, counts = runs.get("size"), runs.get("counts")
    if not isinstance(size, list) or [type(side) for side in size] != [int, int]:
        return None
    height, width = size
    lengths = _unpacked(counts) if isinstance(counts, str) else counts
    if not isinstance(lengths, list) or any(type(n) is not int or n < 0 for n in lengths):
        return None
    if min(size) < 1 or height * width > _MOST_PIXELS or sum(lengths) != height * width:
        return None
    ends = np.cumsum([0, *lengths], dtype=np.int64)
    first, last = ends[1:-1:2], ends[2::2] - 1  # every second run is inside
    first, last = first[last >= first], last[last >= first]
    if not len(first):
        return None
    columns = first // height, last // height
    # a run over the end of a column holds its lowest pixel, and the highest of the next
    within = columns[0] == columns[1]
    top = np.where(within, first % height, 0).min()
    bottom = np.where(within, last % height, height - 1).max()
    corners = columns[0].min(), top, columns[1].max() + 1, bottom + 1
    left, up, right, down = (float(number) for number in corners)
    return (left, up, right, down), float((last - first + 1).sum())


def _unpacked(text: str) -> list[int] | None:
    """Return the counts in a text of COCO's, or None where it is none.

    Six bits a character, of which five count; from the third on, counts are differences to the one
    before the last.
    Source: ``rleFrString`` in common/maskApi.c of cocoapi
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - _ZERO
        if not 0 <= bits < 1 << 6 or shift > _MOST_BITS:
            return None
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))  # noqa: PLR2004
        value = shift = 0
    return None if shift else counts
