"""Make one training batch of images with boxes: what moves pixels moves the boxes too.

Random numbers come from torch's generator, seeded per batch by the draw, as in ``augment``.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.boxes import Boxes, areas_of
from squeeze.core.errors import InputError
from squeeze.data import preprocessing
from squeeze.recipe.schema import Augment, InputSpec
from squeeze.training.augment import ImageBatchBuilder, seeded

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor
    from torchvision.transforms import v2

    from squeeze.data.splits import Split
    from squeeze.training.batches import BatchBuilder, BatchSpec

LEAST_VISIBLE = 0.2
"""Share of a box that must be left in the image for it to be kept."""

_LEAST_SIDE_PX = 1.0
_COIN = 0.5
_OUTWARD = (1.0, 2.0)
_MOSAIC_ZOOM = (0.5, 1.5)


@dataclass(frozen=True)
class Scene:
    """Pixels ``(C, h, w)`` uint8 and the boxes in them."""

    pixels: "Tensor"
    boxes: Boxes

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[2])


def builder_of(split: "Split", augment: Augment) -> "BatchBuilder":
    """Return what makes the batches of a split, whether it has boxes or classes.

    Raises:
        InputError: An augmentation of the other kind.
    """
    return BoxBatchBuilder(split, augment) if split.has_boxes else ImageBatchBuilder(split, augment)


class BoxBatchBuilder:
    """Makes the batches of images with boxes.

    Args:
        split: The training samples.
        augment: What to do to them.

    Raises:
        InputError: An augmentation that cannot transform boxes.
    """

    def __init__(self, split: "Split", augment: Augment) -> None:
        self.split, self.augment = split, augment
        for key in augment.classes_only:
            raise InputError(
                "is for images with one class each, not for boxes",
                where=f"augment.{key}",
                hint="for boxes there are flip, vertical_flip, color_jitter, scale_jitter, "
                "iou_crop, zoom_out and mosaic",
            )

    def __getitem__(self, draw: "BatchSpec") -> "tuple[Tensor, list[Boxes]]":
        """Return images ``(n, C, H, W)`` and the boxes of each, in pixels of the input."""
        import torch

        mirrored = np.zeros(len(draw.positions), np.bool_)
        mirrored = mirrored if draw.mirrored is None else draw.mirrored
        with seeded(draw.seed):
            if not self.augment.draws_itself:
                array, labels = self.split.batch(draw.positions)
                scenes = [Scene(torch.from_numpy(a), b) for a, b in zip(array, labels, strict=True)]
            else:
                scenes = [self._scene(position) for position in draw.positions.tolist()]
                if self.augment.vertical_flip:
                    scenes = [_turned(one) if _happens(_COIN) else one for one in scenes]
        scenes = [
            _flipped(scene) if mirror else scene
            for scene, mirror in zip(scenes, mirrored, strict=True)
        ]
        images = torch.stack([scene.pixels for scene in scenes])
        normal = preprocessing.normalise(images.numpy(), self.split.spec)
        return torch.from_numpy(normal), [scene.boxes for scene in scenes]

    def read_ahead(self) -> None:
        """Read what fits into memory now: processes that are forked later share it."""
        self.split.read_ahead(originals=self._looks_at_originals)

    @property
    def _looks_at_originals(self) -> bool:
        return bool(self.augment.iou_crop or self.augment.zoom_out or self.augment.scale_jitter)

    def _scene(self, position: int) -> Scene:
        from torchvision.transforms import v2

        if _happens(self.augment.mosaic):
            scene = self._mosaic(position)
        elif self._looks_at_originals:
            scene = self._moved(position)
        else:
            scene = self._prepared(position)
        if self.augment.color_jitter:
            strength = self.augment.color_jitter
            pixels = v2.ColorJitter(strength, strength, strength)(scene.pixels)
            scene = Scene(pixels, scene.boxes)
        return scene

    def _prepared(self, position: int) -> Scene:
        return Scene(
            self._pixels(self.split.image(position), position), self.split.labels[position]
        )

    def _moved(self, position: int) -> Scene:
        """Zoom out, crop around boxes and change the scale of the picture at its own size."""
        from torchvision.transforms import v2

        pixels = self._pixels(self.split.original(position), position)
        scene = Scene(pixels, self.split.truth[position])
        if _happens(self.augment.zoom_out):
            scene = _through(v2.RandomZoomOut(preprocessing.PAD, _OUTWARD, p=1.0), scene)
        if len(scene.boxes) and _happens(self.augment.iou_crop):
            scene = _through(v2.RandomIoUCrop(), scene)
        low, high = self.augment.scale_jitter or (1.0, 1.0)
        return fitted(scene, self.split.spec, _uniform(low, high))

    def _mosaic(self, position: int) -> Scene:
        """Put four images around a point, and cut a part out.

        Source: https://arxiv.org/abs/2004.10934, section 3.3
        """
        import torch

        count = len(self.split)
        others = torch.randint(count, (3,)).tolist()
        _, height, width = self.split.spec.shape
        middle_y = int(_uniform(0.5, 1.5) * height)
        middle_x = int(_uniform(0.5, 1.5) * width)
        channels = self.split.spec.shape[0]
        canvas = torch.full((channels, 2 * height, 2 * width), preprocessing.PAD, dtype=torch.uint8)
        boxes = []
        for number, chosen in enumerate((position, *others)):
            scene = self._without_bars(chosen)
            tall, wide = scene.size
            top = middle_y - tall if number < 2 else middle_y  # noqa: PLR2004 - the upper two
            left = middle_x - wide if number % 2 == 0 else middle_x
            boxes.append(_paste_(canvas, scene, top, left))
        whole = Scene(canvas, joined(boxes))
        return self._window(whole, _uniform(*_MOSAIC_ZOOM))

    def _without_bars(self, position: int) -> Scene:
        """Return the image as it is prepared, less the bars of a letterbox."""
        scene, place = self._prepared(position), self.split.placement(position)
        left, top = int(place.left), int(place.top)
        right = left + round(place.size[1] * place.scale_x)
        bottom = top + round(place.size[0] * place.scale_y)
        pixels = scene.pixels[:, top:bottom, left:right]
        return Scene(pixels, moved(scene.boxes, -left, -top, (bottom - top, right - left)))

    def _window(self, scene: Scene, zoom: float) -> Scene:
        """Cut a random part out and bring it to the input's size, ``zoom`` times as large."""
        _, height, width = self.split.spec.shape
        tall, wide = (min(round(n / zoom), 2 * n) for n in (height, width))
        top = int(_uniform(0, scene.size[0] - tall + 1))
        left = int(_uniform(0, scene.size[1] - wide + 1))
        pixels = scene.pixels[:, top : top + tall, left : left + wide]
        boxes = moved(scene.boxes, -left, -top, (tall, wide))
        return Scene(
            _resized(pixels, height, width, self.split.spec),
            scaled(boxes, width / wide, height / tall),
        )

    def _pixels(self, image: "NDArray[np.generic]", position: int) -> "Tensor":
        import torch

        if image.dtype != np.uint8:
            raise InputError(
                "is already preprocessed, so its pixels cannot be augmented",
                where=self.split.name(position),
                hint="leave out all augmentation but flip, or let the dataset return pixels "
                "(uint8)",
            )
        return torch.from_numpy(image.copy())


def fitted(scene: Scene, spec: InputSpec, factor: float) -> Scene:
    """Fit a picture into the input as ``spec`` says, but ``factor`` times as large.

    What is larger than the input is cut at a random place; what is smaller lies at a random place
    on grey.
    """
    import torch

    place = preprocessing.placement(scene.size, spec)
    tall = max(1, round(scene.size[0] * place.scale_y * factor))
    wide = max(1, round(scene.size[1] * place.scale_x * factor))
    pixels = _resized(scene.pixels, tall, wide, spec)
    boxes = scaled(scene.boxes, wide / scene.size[1], tall / scene.size[0])
    canvas = torch.full(spec.shape, preprocessing.PAD, dtype=torch.uint8)
    (top, left) = (_somewhere(spec.shape[1] - tall), _somewhere(spec.shape[2] - wide))
    if factor == 1:
        top, left = int(place.top), int(place.left)
    return Scene(canvas, _paste_(canvas, Scene(pixels, boxes), top, left))


def _resized(pixels: "Tensor", height: int, width: int, spec: InputSpec) -> "Tensor":
    from torchvision.transforms import v2

    way = v2.InterpolationMode(spec.interpolation)
    resized: Tensor = v2.functional.resize(
        pixels, [height, width], interpolation=way, antialias=True
    )
    return resized


def _paste_(canvas: "Tensor", scene: Scene, top: int, left: int) -> Boxes:
    """Put a scene onto a canvas, cut off at its borders, and return its boxes there."""
    height, width = canvas.shape[1:]
    tall, wide = scene.size
    rows = slice(max(top, 0), min(top + tall, height))
    columns = slice(max(left, 0), min(left + wide, width))
    canvas[:, rows, columns] = scene.pixels[
        :, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return moved(scene.boxes, left, top, (int(height), int(width)))


def scaled(boxes: Boxes, by_x: float, by_y: float) -> Boxes:
    """Return the boxes in an image resized by these factors."""
    factors = np.array([by_x, by_y, by_x, by_y], np.float32)
    areas = boxes.areas * np.float32(by_x * by_y)
    return Boxes(boxes.xyxy * factors, boxes.classes, boxes.ignored, areas)


def moved(boxes: Boxes, right: float, down: float, size: tuple[int, int]) -> Boxes:
    """Return the boxes moved by pixels and cut off at an image of this height and width.

    Those of which less than ``LEAST_VISIBLE``, or less than a pixel a side, is left are dropped.
    """
    height, width = size
    whole = boxes.xyxy + np.array([right, down, right, down], np.float32)
    cut = np.clip(whole, 0, np.array([width, height, width, height], np.float32))
    return _remaining(boxes, whole, cut)


def _remaining(boxes: Boxes, whole: "NDArray[np.float32]", cut: "NDArray[np.float32]") -> Boxes:
    left, before = areas_of(cut), np.maximum(areas_of(whole), np.finfo(np.float32).tiny)
    sides = (cut[:, 2:] - cut[:, :2]).min(1, initial=np.inf)
    kept = (left >= LEAST_VISIBLE * before) & (sides >= _LEAST_SIDE_PX)
    areas = boxes.areas * left / before
    return Boxes(cut[kept], boxes.classes[kept], boxes.ignored[kept], areas[kept])


def joined(parts: list[Boxes]) -> Boxes:
    """Return the boxes of several images that have become one."""
    return Boxes(
        np.concatenate([part.xyxy for part in parts]),
        np.concatenate([part.classes for part in parts]),
        np.concatenate([part.ignored for part in parts]),
        np.concatenate([part.areas for part in parts]),
    )


def _through(transform: "v2.Transform", scene: Scene) -> Scene:
    """Apply one of torchvision's transforms to pixels and boxes together."""
    import torch
    from torchvision import tv_tensors

    boxes = tv_tensors.BoundingBoxes(
        torch.from_numpy(scene.boxes.xyxy), format="XYXY", canvas_size=scene.size
    )
    pixels, after = transform(tv_tensors.Image(scene.pixels), boxes)
    cut = after.as_subclass(torch.Tensor).numpy()
    # a crop cuts at the pixels' own scale, so what is left is compared with the box before it
    kept = _remaining(scene.boxes, scene.boxes.xyxy, cut)
    return Scene(pixels.as_subclass(torch.Tensor), kept)


def _flipped(scene: Scene) -> Scene:
    """Mirror left-right."""
    boxes = scene.boxes.xyxy.copy()
    boxes[:, [0, 2]] = scene.size[1] - boxes[:, [2, 0]]
    return Scene(scene.pixels.flip(2), replace(scene.boxes, xyxy=boxes))


def _turned(scene: Scene) -> Scene:
    """Turn upside down."""
    boxes = scene.boxes.xyxy.copy()
    boxes[:, [1, 3]] = scene.size[0] - boxes[:, [3, 1]]
    return Scene(scene.pixels.flip(1), replace(scene.boxes, xyxy=boxes))


def _happens(probability: float) -> bool:
    import torch

    return probability > 0 and float(torch.rand(())) < probability


def _uniform(low: float, high: float) -> float:
    import torch

    return low + (high - low) * float(torch.rand(()))


def _somewhere(room: int) -> int:
    """Return a place between 0 and ``room``, which is negative for what has to be cut."""
    return int(_uniform(min(room, 0), max(room, 0)))
