"""The validation images that changed sides: look at them before trusting an average."""

import base64
import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from squeeze.results import Picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from squeeze.sources.data import Split

_SHOWN = 12
_SIDE = 96


def changed(
    predictions: "Mapping[str, NDArray[np.int64]]", validation: "Split"
) -> Iterator[Picture]:
    """Yield up to twelve images that one of first and last state has right and the other wrong.

    Those that got worse come first.
    """
    if len(predictions) <= 1:
        return
    before, after = (
        predictions[name][:, 0] for name in (next(iter(predictions)), list(predictions)[-1])
    )
    labels = validation.labels
    worse = [int(i) for i in ((before == labels) & (after != labels)).nonzero()[0]]
    better = [int(i) for i in ((before != labels) & (after == labels)).nonzero()[0]]
    names = validation.samples.classes
    for position in (worse + better)[:_SHOWN]:
        yield Picture(
            name=validation.name(position).rpartition("/")[2],
            label=names[int(labels[position])],
            baseline=names[int(before[position])],
            candidate=names[int(after[position])],
            png=_png(validation, position),
        )


def _png(validation: "Split", position: int) -> str:
    from PIL import Image

    from squeeze.sources.preprocess import restore

    pixels = restore(validation.batch([position])[0][0], validation.spec)
    image = Image.fromarray(pixels.squeeze())
    scale = _SIDE / max(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    way = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    buffer = io.BytesIO()
    image.resize(size, way).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
