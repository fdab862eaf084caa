"""Images for calibration where there are none: made of noise, so that batch norms recognise them.

Source: Cai et al., ZeroQ: A Novel Zero Shot Quantization Framework, section 3.1
(https://arxiv.org/abs/2001.00281). Differences are taken relative to the batch norm's own
deviation, so that layers of large values do not decide alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from squeeze.data.samples import content_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from squeeze.core.types import Progress
    from squeeze.data.samples import Picture
    from squeeze.recipe.schema import InputSpec, SyntheticCalibration

_BATCH = 16
_RATE = 0.1


@dataclass(frozen=True)
class SyntheticSamples:
    """Made-up model inputs ``(N, C, H, W)`` float32, without labels: all say class 0.

    Attributes:
        notes: How they were made; every report shows it.
    """

    images: "NDArray[np.float32]"
    classes: Sequence[str]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        """Return the index."""
        return f"synthetic[{index}]"

    def label(self, index: int) -> int:
        """Return 0: there are no labels."""
        del index
        return 0

    def picture(self, index: int) -> "Picture":
        """Return the model input itself ``(C, H, W)``."""
        image: NDArray[np.float32] = self.images[index]
        return image

    def digest(self, index: int) -> bytes:
        """Return a hash of the numbers."""
        return content_hash(self.images[index])


def make(
    block: "SyntheticCalibration",
    module: "nn.Module",
    spec: "InputSpec",
    seed: int,
    progress: "Progress",
) -> SyntheticSamples:
    """Make inputs of standard normal noise and fit them to the module's batch norms.

    The fit moves the mean and deviation of what every batch norm is fed, over a batch of 16 images,
    towards those that it has recorded. A module without batch norms gets noise.

    Args:
        block: How many, and how long they are fitted.
        module: Float; left as it is.
        spec: The shape of an input.
        seed: Of the noise.
        progress: Where the bar goes.
    """
    noise = np.random.default_rng(seed).standard_normal((block.samples, *spec.shape))
    images = noise.astype(np.float32)
    norms = _norms(module) if block.match == "batch_norm" else []
    note = f"data.calibration: SYNTHETIC, {block.samples} images of noise (seed {seed})"
    if norms:
        before, after = _fit_(images, module, norms, block.iterations, progress)
        note += (
            f", fitted to {len(norms)} batch norms in {block.iterations} iterations (squared "
            f"difference {before:.3g} -> {after:.3g})"
        )
    elif block.match == "batch_norm":
        note += ", not fitted, because the model has no batch norms"
    note += "; the ranges come from no real image: check the accuracy and prefer real samples"
    return SyntheticSamples(images, ("none",), (note,))


def _norms(module: "nn.Module") -> "list[nn.BatchNorm2d]":
    from torch import nn

    return [
        part
        for part in module.modules()
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None
    ]


def _fit_(
    images: "NDArray[np.float32]",
    module: "nn.Module",
    norms: "list[nn.BatchNorm2d]",
    iterations: int,
    progress: "Progress",
) -> tuple[float, float]:
    """Fit images batch by batch, in place; return the difference before and after."""
    import torch

    ends = []
    starts = range(0, len(images), _BATCH)
    with (
        _frozen(module),
        _watching(norms) as differences,
        progress.task("making calibration images", len(starts) * iterations) as advance,
    ):
        for start in starts:
            batch = torch.from_numpy(images[start : start + _BATCH].copy()).requires_grad_()
            optimizer = torch.optim.Adam([batch], lr=_RATE)
            losses = []
            for _ in range(iterations):
                differences.clear()
                with torch.enable_grad():
                    module(batch)
                    loss = torch.stack(differences).mean()
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
                optimizer.step()
                losses.append(loss.item())
                advance()
            images[start : start + _BATCH] = batch.detach().numpy()
            ends.append((losses[0], losses[-1]))
    before, after = np.mean(ends, axis=0)
    return float(before), float(after)


@contextmanager
def _frozen(module: "nn.Module") -> Iterator[None]:
    """Put a module into evaluation and its parameters out of reach of gradients."""
    training = [part for part in module.modules() if part.training]
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    module.eval().requires_grad_(requires_grad=False)
    try:
        yield
    finally:
        for part in training:
            part.training = True
        for parameter in learning:
            parameter.requires_grad = True


@contextmanager
def _watching(norms: "list[nn.BatchNorm2d]") -> "Iterator[list[Tensor]]":
    """Collect how far the input of every batch norm is from what it has recorded."""
    found: list[Tensor] = []

    def look(norm: "nn.BatchNorm2d", inputs: "tuple[Tensor, ...]") -> None:
        if norm.running_mean is None or norm.running_var is None:
            return
        deviation, mean = _moments(inputs[0])
        expected = (norm.running_var + norm.eps).sqrt()
        off = (mean - norm.running_mean) / expected, deviation / expected - 1
        found.append(sum((part.square().mean() for part in off), start=deviation.new_zeros(())))

    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _moments(values: "Tensor") -> "tuple[Tensor, Tensor]":
    """Return deviation and mean of every channel, over images and places."""
    import torch

    variance, mean = torch.var_mean(values, dim=(0, 2, 3), correction=0)
    return (variance + torch.finfo(values.dtype).eps).sqrt(), mean
