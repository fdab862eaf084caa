"""The boxes of one image, as a file says them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ImageAnnotations:
    """What a format has read about one image, unchecked.

    Attributes:
        file: The image.
        xyxy: Corners in pixels ``(n, 4)`` float64, as they stand there.
        names: Class name of every box.
        ignored: ``(n,)`` bool, as in ``Boxes``.
        areas: Annotated areas ``(n,)``; NaN where there is none.
        places: What messages call every box, for example ``file.xml:12``.
        size: Height and width as annotated, if they are. Where this is the size of a picture as it
            is stored, on its side, its boxes are turned with it.
    """

    file: Path
    xyxy: "NDArray[np.float64]"
    names: Sequence[str]
    ignored: "NDArray[np.bool_]"
    areas: "NDArray[np.float64]"
    places: Sequence[str]
    size: tuple[int, int] | None = None
