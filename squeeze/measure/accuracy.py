"""Accuracy of an exported file, in its own runtime, on the whole validation set."""

from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.errors import SqueezeError
from squeeze.measure import statistics
from squeeze.results import Accuracy, Change, Parity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from squeeze.core.types import Progress
    from squeeze.runtimes.base import Session
    from squeeze.sources.data import Split
    from squeeze.sources.models import Model
    from squeeze.tasks.base import Task

_PARITY_SAMPLES = 16


def predict(
    session: "Session",
    split: "Split",
    task: "Task",
    batch_size: int,
    progress: "Progress",
    label: str,
) -> "NDArray[np.int64]":
    """Return predictions ``(N, 5)`` for every sample, best class first."""
    found = []
    with progress.task(label, len(split)) as advance:
        for images, labels in split.batches(batch_size):
            found.append(task.predictions(session.invoke(session.prepare(images))))
            advance(len(labels))
    return np.concatenate(found)


def score(predictions: "NDArray[np.int64]", labels: "NDArray[np.int64]") -> Accuracy:
    """Compare predictions with labels."""
    best, among = hits(predictions, labels)
    total = len(labels)
    return Accuracy(
        samples=total,
        top1=statistics.proportion(int(best.sum()), total),
        top5=statistics.proportion(int(among.sum()), total),
    )


def compare(
    before: "NDArray[np.int64]", after: "NDArray[np.int64]", labels: "NDArray[np.int64]"
) -> Change:
    """Compare the predictions of two models on the same samples."""
    (best, among), (best_after, among_after) = hits(before, labels), hits(after, labels)
    return Change(
        drop=statistics.paired_drop(best, best_after),
        top5_drop=float(among.mean() - among_after.mean()),
        agreement=float((before[:, 0] == after[:, 0]).mean()),
        broken=int((best & ~best_after).sum()),
        mended=int((~best & best_after).sum()),
    )


def hits(
    predictions: "NDArray[np.int64]", labels: "NDArray[np.int64]"
) -> "tuple[NDArray[np.bool_], NDArray[np.bool_]]":
    """Return per sample whether the label is the best, and among the best five."""
    equal = predictions == labels[:, None]
    return equal[:, 0], equal.any(axis=1)


def parity(model: "Model", session: "Session", split: "Split", batch_size: int) -> Parity:
    """Compare a float file with torch on the first samples of a set.

    Raises:
        SqueezeError: The file gives outputs of another shape.
    """
    import torch

    count = min(_PARITY_SAMPLES, len(split))
    images, _ = split.batch(range(count))
    with torch.inference_mode():
        expected = model.module.eval()(torch.from_numpy(images)).numpy()
    parts = [
        session.invoke(session.prepare(images[start : start + batch_size]))
        for start in range(0, count, batch_size)
    ]
    found = np.concatenate(parts)
    if found.shape != expected.shape:
        raise SqueezeError(f"the exported file gives {found.shape}, torch gives {expected.shape}")
    return Parity(
        samples=count,
        max_difference=float(np.abs(found - expected).max()),
        scale=float(np.abs(expected).max()),
        same_class=float((found.argmax(1) == expected.argmax(1)).mean()),
    )
