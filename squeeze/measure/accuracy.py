"""Run an exported file in its own runtime on the whole validation set, and compare with torch."""

from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.errors import SqueezeError
from squeeze.core.parity import distances
from squeeze.results import Parity
from squeeze.runtimes.base import several

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from squeeze.core.types import Progress
    from squeeze.data.splits import Split
    from squeeze.measure.evaluator import Evaluator, Predictions
    from squeeze.models.types import Model
    from squeeze.runtimes.base import Outputs, Session

_PARITY_SAMPLES = 16


def predict(
    session: "Session",
    split: "Split",
    task: "Evaluator",
    batch_size: int,
    progress: "Progress",
    label: str,
) -> "Predictions":
    """Return what the task reads from the outputs for every sample."""
    found = []
    with progress.task(label, len(split)) as advance:
        for images, labels in split.batches(batch_size):
            found.append(task.predictions(session.invoke(session.prepare(images))))
            advance(len(labels))
    return _joined(found)


def _joined(found: "Sequence[Predictions]") -> "Predictions":
    if isinstance(found[0], np.ndarray):
        return np.concatenate(found)
    return [prediction for batch in found for prediction in batch]


def torch_outputs(model: "Model", images: "NDArray[np.float32]") -> "Outputs":
    """Return the torch module's outputs for images ``(n, C, H, W)``."""
    import torch

    with torch.inference_mode():
        found = model.module.eval()(torch.from_numpy(images))
    if torch.is_tensor(found):
        return found.numpy()
    return tuple(part.numpy() for part in found)


def parity(
    model: "Model", session: "Session", split: "Split", batch_size: int, task: "Evaluator"
) -> Parity:
    """Compare a float file with torch on the first samples of a set.

    Of several outputs the one with the largest difference relative to its largest value is
    recorded.

    Raises:
        SqueezeError: The file gives outputs of another number or shape.
    """
    count = min(_PARITY_SAMPLES, len(split))
    images, _ = split.batch(range(count))
    expected = torch_outputs(model, images)
    parts = [
        several(session.invoke(session.prepare(images[start : start + batch_size])))
        for start in range(0, count, batch_size)
    ]
    found = tuple(np.concatenate(column) for column in zip(*parts, strict=True))
    shapes = [[part.shape for part in each] for each in (found, several(expected))]
    if shapes[0] != shapes[1]:
        found_shapes, expected_shapes = (", ".join(map(str, each)) for each in shapes)
        raise SqueezeError(
            f"the exported file returns shapes {found_shapes}, torch returns {expected_shapes}"
        )
    pairs = distances(found, several(expected), getattr(model.module, "detector", None))
    difference, scale = max(pairs, key=lambda pair: pair[0] / max(pair[1], np.finfo(float).tiny))
    outputs = found if isinstance(expected, tuple) else found[0]
    return Parity(
        samples=count,
        max_difference=difference,
        scale=scale,
        same_class=task.agreement(task.predictions(expected), task.predictions(outputs)),
    )
