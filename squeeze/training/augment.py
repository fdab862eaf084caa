"""Make one training batch: read its images, augment them, mix them.

All that is random was drawn before (``batches.BatchSpec``): a batch is the same in every process.
The transforms that look at pixels are torchvision's; they use torch's global generator, which is
seeded for them and restored.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.errors import InputError
from squeeze.data import preprocessing
from squeeze.recipe.schema import Augment

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from squeeze.data.splits import Split
    from squeeze.training.batches import BatchSpec

_COIN = 0.5


class ImageBatchBuilder:
    """Makes the batches of images with a class each.

    Args:
        split: The training samples.
        augment: What to do to them.

    Raises:
        InputError: An augmentation that is for boxes only.
    """

    def __init__(self, split: "Split", augment: Augment) -> None:
        self.split, self.augment = split, augment
        for key in augment.boxes_only:
            raise InputError("is for images with boxes", where=f"augment.{key}")
        self._pixel_transform = _pixel_transform(augment, split.spec.shape)

    def __getitem__(self, draw: "BatchSpec") -> "tuple[Tensor, Tensor]":
        """Return images ``(n, C, H, W)`` and labels: ``(n,)``, or ``(n, classes)`` when mixed."""
        import torch

        with seeded(draw.seed):
            array, classes = self._read(draw)
            images, labels = torch.from_numpy(array), torch.from_numpy(classes)
            if draw.mirrored is not None:
                mirrored = torch.from_numpy(draw.mirrored)
                images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
            if self.augment.vertical_flip:
                turned = torch.rand(len(images)) < _COIN
                images = torch.where(turned[:, None, None, None], images.flip(2), images)
            if draw.moves is not None:
                images = _shifted(images, draw.moves, self.augment.shift)
            if self.augment.mixup or self.augment.cutmix:
                images, labels = self._mixed(images, labels)
        return images, labels

    def read_ahead(self) -> None:
        """Read what fits into memory now: processes that are forked later share it."""
        self.split.read_ahead(originals=bool(self.augment.random_resized_crop))

    def _read(self, draw: "BatchSpec") -> "tuple[NDArray[np.float32], NDArray[np.int64]]":
        if self._pixel_transform is None:
            images, _ = self.split.batch(draw.positions)
            return images, self.split.class_indices[draw.positions]
        import torch

        read = self.split.original if self.augment.random_resized_crop else self.split.image
        pixels = []
        for position in draw.positions.tolist():
            image = read(position)
            if image.dtype != np.uint8:
                raise InputError(
                    "is already preprocessed, so its pixels cannot be augmented",
                    where=self.split.name(position),
                    hint="leave out random_resized_crop, rand_augment and color_jitter, or let "
                    "the dataset return pixels (uint8)",
                )
            pixels.append(self._pixel_transform(torch.from_numpy(image.copy())))
        array = torch.stack(pixels).numpy()
        labels = self.split.class_indices[draw.positions]
        return preprocessing.normalise(array, self.split.spec), labels

    def _mixed(self, images: "Tensor", labels: "Tensor") -> "tuple[Tensor, Tensor]":
        """Mix every image with its neighbour; with both kinds enabled, one is drawn."""
        import torch
        from torchvision.transforms import v2

        count = len(self.split.samples.classes)
        ways = [
            kind(alpha=alpha, num_classes=count)
            for kind, alpha in (
                (v2.MixUp, self.augment.mixup),
                (v2.CutMix, self.augment.cutmix),
            )
            if alpha
        ]
        way = ways[int(torch.rand(()) < _COIN)] if len(ways) > 1 else ways[0]
        mixed, shares = way(images, labels)
        return mixed, shares


def _pixel_transform(
    augment: Augment, shape: tuple[int, int, int]
) -> "Callable[[Tensor], Tensor] | None":
    """Return what is done to the pixels ``(C, H, W)`` uint8 of one image."""
    if not (augment.random_resized_crop or augment.rand_augment or augment.color_jitter):
        return None
    from torchvision.transforms import v2

    steps: list[Callable[[Tensor], Tensor]] = []
    if augment.random_resized_crop:
        low = augment.random_resized_crop
        steps.append(v2.RandomResizedCrop(shape[1:], scale=(low, 1.0), antialias=True))
    if augment.rand_augment:
        steps.append(v2.RandAugment(num_ops=2, magnitude=augment.rand_augment))
    if augment.color_jitter:
        strength = augment.color_jitter
        steps.append(v2.ColorJitter(strength, strength, strength))
    transform: Callable[[Tensor], Tensor] = v2.Compose(steps)
    return transform


def _shifted(images: "Tensor", moves: "NDArray[np.int64]", pad: int) -> "Tensor":
    """Pad by repeating the border, and crop every image at its own place."""
    import torch
    from torch.nn import functional

    height, width = images.shape[2:]
    padded = functional.pad(images, (pad, pad, pad, pad), mode="replicate")
    return torch.stack(
        [
            image[:, y : y + height, x : x + width]
            for image, (y, x) in zip(padded, moves.tolist(), strict=True)
        ]
    )


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Seed torch's generator within the block, and restore it afterwards; None changes nothing."""
    import torch

    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
