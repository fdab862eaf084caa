"""Thumbnails of samples for the report."""

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

    from squeeze.data.splits import Split

_SIDE = 96


def thumbnail(split: "Split", position: int, side: int = _SIDE) -> "Image":
    """Return a sample as the model sees it, its longer side ``side`` pixels long."""
    from PIL import Image

    from squeeze.data.preprocessing import restore

    pixels = restore(split.batch([position])[0][0], split.spec)
    image = Image.fromarray(pixels.squeeze())
    scale = side / max(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    way = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    return image.resize(size, way)


def png(image: "Image") -> str:
    """Return a picture as base64 of a PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
