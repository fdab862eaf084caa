"""Boxes against their pictures: what cannot be right is counted, and refused or repaired."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.boxes import Boxes
from squeeze.core.errors import InputError
from squeeze.data.annotations.classes import LEFT_OUT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from squeeze.data.annotations.image import ImageAnnotations

ROUNDING_PX = 1.0
"""Boxes may stick out so far: annotation tools round, and fractions of a side have few digits."""

_SHOWN = 3
_FARTHEST = 1e9
"""Corners from here on, in pixels, are as good as infinite."""

_NOT_FINITE = "not finite numbers"
_NO_AREA = "without area"
_OUTSIDE = "wholly outside the picture"
_OVER = "reaching out of the picture"
_OTHER_SIZE = "drawn on a picture of another size than the file"


def check(
    images: "Sequence[ImageAnnotations]",
    indices: "Sequence[NDArray[np.int64]]",
    sizes: Sequence[tuple[int, int] | None],
    *,
    rule: str,
    where: str,
) -> tuple[list[Boxes], tuple[str, ...]]:
    """Return the boxes of every image, all inside their picture, and what was repaired.

    Args:
        images: What the format read.
        indices: Class index per box; ``LEFT_OUT`` for those that the recipe leaves out.
        sizes: Height and width of every picture; None where the file cannot be read.
        rule: ``refuse`` or ``repair``.
        where: What messages call the set.

    Raises:
        InputError: Bad boxes, and the rule is ``refuse``.
    """
    found: dict[str, list[str]] = {}
    checked = [
        _one(image, classes, size, found)
        for image, classes, size in zip(images, indices, sizes, strict=True)
    ]
    if not found:
        return checked, ()
    text = _summary(found, sum(len(image.xyxy) for image in images))
    if rule == "refuse":
        raise InputError(
            text,
            where=where,
            hint="fix them, or set on_bad_boxes: repair, which cuts boxes off at the picture's "
            "border and leaves out those of which nothing remains",
        )
    return checked, (f"repaired, {text}",)


def _summary(found: dict[str, list[str]], total: int) -> str:
    """Say how many boxes are bad, of which kinds, and where the first of each are."""
    bad = len({place for places in found.values() for place in places})
    kinds = (
        f"{len(places)} {kind} ({', '.join(places[:_SHOWN])}{', …' * (len(places) > _SHOWN)})"
        for kind, places in sorted(found.items())
    )
    return f"{bad} of {total} boxes are bad: {'; '.join(kinds)}"


def _one(
    image: "ImageAnnotations",
    classes: "NDArray[np.int64]",
    size: tuple[int, int] | None,
    found: dict[str, list[str]],
) -> Boxes:
    """Check one image's boxes and note the bad ones' places by kind."""
    height, width = size or image.size or (np.inf, np.inf)
    cut = np.clip(image.xyxy, 0, (width, height, width, height))
    finite = (np.abs(image.xyxy) < _FARTHEST).all(1)
    solid = finite & (image.xyxy[:, 2:] > image.xyxy[:, :2]).all(1)
    inside = solid & (cut[:, 2:] > cut[:, :2]).all(1)
    over = inside & (np.abs(cut - image.xyxy).max(1, initial=0) > ROUNDING_PX)
    wanted = classes != LEFT_OUT
    elsewhere = np.full_like(wanted, None not in {size, image.size} and size != image.size)
    for kind, bad in (
        (_NOT_FINITE, ~finite),
        (_NO_AREA, finite & ~solid),
        (_OUTSIDE, solid & ~inside),
        (_OVER, over),
        (_OTHER_SIZE, elsewhere),
    ):
        if (bad & wanted).any():
            found.setdefault(kind, []).extend(
                image.places[i] for i in np.flatnonzero(bad & wanted).tolist()
            )
    kept = inside & wanted
    drawn = (cut[:, 2:] - cut[:, :2]).prod(1)
    areas = np.where((image.areas > 0) & (image.areas < _FARTHEST**2), image.areas, drawn)
    return Boxes.of(cut[kept], classes[kept], ignored=image.ignored[kept], areas=areas[kept])
