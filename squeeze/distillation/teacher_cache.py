"""Cache the teacher's outputs for images that training shows again.

They are found by the image's pixels, not by its place in the data: whatever augmentation does, an
output belongs to exactly the pixels that it was computed for.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from squeeze.data.cache import limit_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from squeeze.recipe.schema import TrainSettings

    NamedTensors = dict[str, Tensor]

_SEED = 20
_SHARE_OF_GPU = 0.25


def repeat(settings: "TrainSettings") -> bool:
    """Tell whether a training shows the same images in every epoch.

    Mirroring doubles them, everything else makes new ones. ``deterministic`` requires the same bits
    of a training that was killed and resumes, which starts with an empty cache.
    """
    augment = settings.augment
    varied = augment.shift or augment.draws_itself
    return settings.epochs > 1 and not varied and not settings.deterministic


@dataclass
class TeacherCache:
    """A teacher's outputs by image.

    Attributes:
        limit: In bytes; images that do not fit go through the teacher every time. None uses what
            ``cache.limit_bytes`` allows, on a GPU a quarter of its free memory.
        misses: Images that went through the teacher.
        hits: Images whose outputs were cached.
    """

    limit: int | None = None
    misses: int = 0
    hits: int = 0
    _kept: "dict[tuple[int, int], NamedTensors]" = field(default_factory=dict)
    _bytes: int = 0
    _factors: "Tensor | None" = None

    def take(self, images: "Tensor", compute: "Callable[[Tensor], NamedTensors]") -> "NamedTensors":
        """Return the outputs for a batch ``(n, C, H, W)``, each tensor with ``n`` rows.

        Args:
            images: On any device; outputs stay there.
            compute: Returns tensors with a row per image. Where one has another number of rows,
                nothing of the batch is cached.
        """
        import torch

        keys = self._keys(images)
        new = [row for row, key in enumerate(keys) if key not in self._kept]
        self.hits += len(keys) - len(new)
        self.misses += len(new)
        if len(new) == len(keys):
            whole = compute(images)
            self._keep(keys, whole)
            return whole
        fresh: dict[tuple[int, int], NamedTensors] = {}
        if new:
            part = compute(images[new])
            fresh = {keys[row]: _row(part, place) for place, row in enumerate(new)}
            self._keep([keys[row] for row in new], part)
        rows = [self._kept.get(key) or fresh[key] for key in keys]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _keep(self, keys: list[tuple[int, int]], outputs: "NamedTensors") -> None:
        if any(len(tensor) != len(keys) for tensor in outputs.values()):
            return
        need = sum(tensor.nbytes for tensor in outputs.values())
        if self.limit is None:
            self.limit = _free(next(iter(outputs.values())))
        if self._bytes + need > self.limit:
            return
        self._bytes += need
        self._kept.update((key, _row(outputs, place)) for place, key in enumerate(keys))

    def _keys(self, images: "Tensor") -> list[tuple[int, int]]:
        """Return a 128-bit hash of each image: sums of its words times random odd factors."""
        import torch

        words = images.detach().float().contiguous().flatten(1).view(torch.int32).long()
        if self._factors is None or self._factors.shape[0] != words.shape[1]:
            generator = torch.Generator().manual_seed(_SEED)
            drawn = torch.randint(-(2**62), 2**62, (words.shape[1], 2), generator=generator)
            self._factors = drawn * 2 + 1
        factors = self._factors = self._factors.to(words.device)
        sums = torch.stack([(words * column).sum(1) for column in factors.unbind(1)], 1)
        return [(first, second) for first, second in sums.tolist()]


def _row(outputs: "NamedTensors", row: int) -> "NamedTensors":
    return {name: tensor[row] for name, tensor in outputs.items()}


def _free(tensor: "Tensor") -> int:
    if tensor.device.type != "cuda":
        return limit_bytes()
    import torch

    return int(_SHARE_OF_GPU * torch.cuda.mem_get_info(tensor.device)[0])
