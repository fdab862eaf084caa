"""A contact sheet of what a training sees: augmented images with their labels or boxes."""

import math
from typing import TYPE_CHECKING, cast

import numpy as np

from squeeze.core.boxes import Boxes
from squeeze.data.preprocessing import restore
from squeeze.recipe.schema import TrainSettings
from squeeze.training.augment_boxes import builder_of
from squeeze.training.batches import Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from squeeze.data.splits import Split

    Label = Boxes | int | Sequence[float]
    """Boxes, a class, or the share of every class in a mixed image."""

_SIDE, _GAP, _TEXT = 112, 8, 12
_LINES = 2
_LEAST_SHARE = 0.005
_COLOURS = ("yellow", "cyan", "lime", "magenta", "orange", "red", "blue", "white")


def contact_sheet(split: "Split", settings: TrainSettings, *, seed: int, images: int) -> "Image":
    """Draw the first images of the first epoch, exactly as the training will see them.

    Args:
        split: The training samples.
        settings: Of the training: batch size and augmentation.
        seed: The recipe's.
        images: How many; there are as many columns as rows, or one more.
    """
    from PIL import Image, ImageDraw

    found = _first(split, settings, seed, images)
    columns = math.ceil(math.sqrt(len(found)))
    width, height = _SIDE + _GAP, _SIDE + _GAP + _LINES * _TEXT
    rows = math.ceil(len(found) / columns)
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (pixels, label) in enumerate(found):
        left, top = _GAP + number % columns * width, _GAP + number // columns * height
        cell = _scaled(pixels)
        if isinstance(label, Boxes):
            _outline_(cell, label, cell.width / pixels.shape[1])
        sheet.paste(cell, (left, top))
        for line, text in enumerate(_lines(label, split.samples.classes, draw)):
            draw.text((left, top + _SIDE + line * _TEXT), text, fill="black")
    return sheet


def label_text(label: "Label", classes: "Sequence[str]") -> list[str]:
    """Return a class's name, or those of several, the largest share or most boxes first."""
    if isinstance(label, Boxes):
        counts = np.bincount(label.classes, minlength=len(classes))
        return [
            f"{classes[i]} {counts[i]}" for i in np.argsort(-counts, kind="stable") if counts[i]
        ]
    if np.ndim(label) == 0:
        return [classes[cast("int", label)]]
    shares = np.asarray(label)
    order = np.argsort(-shares, kind="stable")
    return [f"{classes[i]} {shares[i]:.2f}" for i in order if shares[i] > _LEAST_SHARE]


def _first(
    split: "Split", settings: TrainSettings, seed: int, images: int
) -> "list[tuple[NDArray[np.uint8], Label]]":
    builder = builder_of(split, settings.augment)
    found: list[tuple[NDArray[np.uint8], Label]] = []
    for drawn in Plan(split.labels, settings, np.random.default_rng(seed)):
        batch, labels = builder[drawn]
        plain = labels if split.has_boxes else labels.tolist()
        found += [(restore(i, split.spec), n) for i, n in zip(batch.numpy(), plain, strict=True)]
        if len(found) >= images:
            break
    return found[:images]


def _outline_(cell: "Image", boxes: Boxes, scale: float) -> None:
    """Draw the boxes, a colour per class; ignored ones grey."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(cell)
    for corners, number, ignored in zip(boxes.xyxy, boxes.classes, boxes.ignored, strict=True):
        left, top, right, bottom = (corners * scale).tolist()
        colour = "grey" if ignored else _COLOURS[number % len(_COLOURS)]
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour)


def _scaled(pixels: "NDArray[np.uint8]") -> "Image":
    """Bring pixels ``(H, W, C)`` to the size of a cell; small ones show as squares."""
    from PIL import Image

    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).convert("RGB")
    scale = _SIDE / max(image.size)
    way = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    return image.resize((round(image.width * scale), round(image.height * scale)), way)


def _lines(label: "Label", classes: "Sequence[str]", draw: "ImageDraw") -> list[str]:
    """Return the label in at most two lines that fit under the image."""
    shown = []
    for text in label_text(label, classes)[:_LINES]:
        fitting = text
        while fitting and draw.textlength(fitting) > _SIDE:
            counted = isinstance(label, Boxes) or np.ndim(label)
            name, _, share = text.rpartition(" ") if counted else (text, "", "")
            cut = len(fitting) - len(share) - 3
            fitting = f"{name[: max(1, cut)]}… {share}".rstrip() if cut > 0 else ""
        shown.append(fitting)
    return shown
