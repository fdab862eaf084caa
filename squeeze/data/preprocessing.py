"""The one preprocessing that training, calibration, evaluation and every runtime share."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.boxes import Placement
from squeeze.core.errors import InputError
from squeeze.recipe.schema import InputSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from squeeze.data.samples import Picture, Pixels

PAD = 114
"""The grey of a letterbox's bars, the one that YOLO models are trained with."""

_FEW_PIXELS, _FEW = 4, 1 / 8
"""An image of about the input's size differs from it by no more on any side."""

_ROUNDING = 1e-6
"""Fractions such as 224 / 232 must give 232 again."""

_GREY_RANK = 2


def settled(spec: InputSpec, sizes: Callable[[], Sequence[tuple[int, int]]]) -> InputSpec:
    """Return the spec with the crop fraction that suits images of these heights and widths.

    A fraction that was given stays. Where it was left out, nothing is cut off images that all have
    about the input's size (4 pixels or an eighth of a side more or less, whichever is fewer): there
    is no border for a crop to remove.
    """
    if spec.fit != "crop" or "crop_fraction" not in spec.left_out:
        return spec
    found = sizes()
    about = bool(found) and all(
        abs(side - wanted) <= min(_FEW_PIXELS, wanted * _FEW)
        for size in found
        for side, wanted in zip(size, spec.shape[1:], strict=True)
    )
    return spec.model_copy(update={"crop_fraction": 1.0 if about else spec.crop_fraction})


def fit(picture: "Picture", spec: InputSpec, where: str) -> "Pixels":
    """Bring a picture to ``(C, H, W)``: uint8 for pixels, float32 if already preprocessed.

    Raises:
        InputError: A preprocessed float array of another shape.
    """
    if isinstance(picture, np.ndarray) and picture.dtype == np.float32:
        if picture.shape != spec.shape:
            raise InputError(
                f"is {picture.shape}, the model takes {spec.shape}",
                where=where,
                hint="set model.input.shape, or return pixels (uint8) instead",
            )
        return picture
    way = _resize_and_crop if spec.fit == "crop" else _resize_and_pad
    return _channels_first(way(_image(picture, spec), spec), spec)


def placement(size: tuple[int, int], spec: InputSpec) -> Placement:
    """Return where ``fit`` puts a picture of this height and width, in continuous coordinates.

    ``letterbox`` keeps the proportions up to whole pixels and centres the picture; an odd pixel
    goes to the right and to the bottom. ``stretch`` fills the input.

    Raises:
        ValueError: For ``crop``, which may cut objects off.
    """
    (tall, wide), (height, width) = spec.shape[1:], size
    if spec.fit == "crop":
        raise ValueError("fit: crop has no placement")
    if spec.fit == "letterbox":
        scale = min(tall / height, wide / width)
        tall, wide = max(1, round(height * scale)), max(1, round(width * scale))
    left, top = (spec.shape[2] - wide) // 2, (spec.shape[1] - tall) // 2
    return Placement(wide / width, tall / height, left, top, size)


def pixels(picture: "Picture", spec: InputSpec, where: str) -> "Pixels":
    """Bring a picture to ``(C, h, w)`` uint8 of its own size; preprocessed floats as in ``fit``."""
    if isinstance(picture, np.ndarray) and picture.dtype == np.float32:
        return fit(picture, spec, where)
    return _channels_first(_image(picture, spec), spec)


def _image(picture: "Picture", spec: InputSpec) -> "Image":
    from PIL import Image

    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    return image.convert("L" if spec.shape[0] == 1 else "RGB")


def _channels_first(image: "Image", spec: InputSpec) -> "NDArray[np.uint8]":
    array = np.asarray(image, dtype=np.uint8)
    if array.ndim == _GREY_RANK:
        return array[None]
    if spec.channel_order == "bgr":
        array = array[:, :, ::-1]
    return np.ascontiguousarray(array.transpose(2, 0, 1))


def _resize_and_crop(image: "Image", spec: InputSpec) -> "Image":
    """Scale to cover ``(H, W) / crop_fraction``, cut out the centre; torchvision's rounding.

    Source: the size to scale to is rounded down, as in timm's ``transforms_imagenet_eval``
    (https://github.com/huggingface/pytorch-image-models/blob/v1.0.19/timm/data/transforms_factory.py).
    """
    from PIL import Image

    _, height, width = spec.shape
    tall, wide = (int(side / spec.crop_fraction + _ROUNDING) for side in (height, width))
    if image.height * wide <= image.width * tall:
        size = (int(tall * image.width / image.height), tall)
    else:
        size = (wide, int(wide * image.height / image.width))
    if size != image.size:
        image = image.resize(size, getattr(Image.Resampling, spec.interpolation.upper()))
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _resize_and_pad(image: "Image", spec: InputSpec) -> "Image":
    """Scale to the input's size, or as far as it fits with grey bars around it."""
    from PIL import Image

    place = placement((image.height, image.width), spec)
    size = round(image.width * place.scale_x), round(image.height * place.scale_y)
    if size != image.size:
        image = image.resize(size, getattr(Image.Resampling, spec.interpolation.upper()))
    whole = spec.shape[2], spec.shape[1]
    if size == whole:
        return image
    padded = Image.new(image.mode, whole, PAD if image.mode == "L" else (PAD,) * 3)
    padded.paste(image, (int(place.left), int(place.top)))
    return padded


def normalise(images: "Pixels", spec: InputSpec) -> "NDArray[np.float32]":
    """Turn ``(N, C, H, W)`` uint8 into the float32 that the model is fed; floats pass as is."""
    if images.dtype != np.uint8:
        return images.astype(np.float32, copy=False)
    mean, std = (np.asarray(v, np.float32).reshape(1, -1, 1, 1) for v in (spec.mean, spec.std))
    return (images.astype(np.float32) / np.float32(255) - mean) / std


def restore(image: "NDArray[np.float32]", spec: InputSpec) -> "NDArray[np.uint8]":
    """Turn one model input ``(C, H, W)`` back into pixels ``(H, W, C)`` for people to look at."""
    mean, std = (np.asarray(v, np.float32).reshape(-1, 1, 1) for v in (spec.mean, spec.std))
    pixels: NDArray[np.uint8] = np.rint((image * std + mean) * 255).clip(0, 255).astype(np.uint8)
    if spec.channel_order == "bgr":
        pixels = pixels[::-1]
    return pixels.transpose(1, 2, 0)
