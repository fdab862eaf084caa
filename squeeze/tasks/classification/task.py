"""Image classification: logits ``(N, classes)``, integer labels ``(N,)``."""

import sys
from typing import TYPE_CHECKING, cast

import numpy as np

from squeeze.core.errors import InputError, SqueezeError
from squeeze.tasks.classification import SPEC
from squeeze.tasks.classification import metrics as scores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from squeeze.data.splits import Split
    from squeeze.recipe.schema import InputSpec
    from squeeze.results import ClassificationAccuracy, ClassificationChange, ClassificationPicture
    from squeeze.runtimes.base import Outputs
    from squeeze.tasks.base import Task

METRIC = SPEC.main.label
DECODES = SPEC.decodes
TOP = 5
_MATRIX = 2
_BATCH = 128


def open_task(spec: "InputSpec") -> "Task":
    """Return the task, which is this module and the same for every input."""
    del spec
    return cast("Task", sys.modules[__name__])


def of(module: "nn.Module") -> "Task":
    """Return this task: logits are read in one way only."""
    del module
    return cast("Task", sys.modules[__name__])


def loss(
    outputs: "Tensor", labels: "Tensor", *, label_smoothing: float, focal_gamma: float = 0.0
) -> "Tensor":
    """Return the mean cross-entropy, or focal loss.

    Args:
        outputs: Logits ``(N, classes)``.
        labels: Classes ``(N,)``, or shares ``(N, classes)`` of mixed images.
        label_smoothing: Share of every label that is spread over all classes, [0, 1).
        focal_gamma: With gamma > 0 every class's term -q log p is weighted with (1 - p)^gamma.

    Source: https://arxiv.org/abs/1708.02002, equation 4, for softmax and with shares q.
    """
    from torch.nn import functional

    if focal_gamma == 0:
        return functional.cross_entropy(outputs, labels, label_smoothing=label_smoothing)
    classes = outputs.shape[1]
    shares = labels if labels.is_floating_point() else functional.one_hot(labels, classes)
    shares = shares * (1 - label_smoothing) + label_smoothing / classes
    logarithms = functional.log_softmax(outputs, dim=1)
    weights = (1 - logarithms.exp()) ** focal_gamma
    return -(shares * weights * logarithms).sum(1).mean()


def predictions(outputs: "Outputs") -> "NDArray[np.int64]":
    """Return the five most likely classes ``(N, 5)``, best first; fewer if there are fewer.

    Raises:
        SqueezeError: There are several outputs, or they hold NaN.
    """
    if isinstance(outputs, tuple):
        raise SqueezeError(
            f"the model returns {len(outputs)} outputs, expected logits (N, classes)"
        )
    if not np.isfinite(outputs).all():
        raise SqueezeError("the model's outputs hold NaN or infinity")
    return np.argsort(-outputs, axis=1, kind="stable")[:, :TOP].astype(np.int64)


def check_model(module: "nn.Module", spec: "InputSpec", classes: int) -> None:
    """Run the model once and compare its output with the data.

    Raises:
        InputError: It does not run on this input, or has another number of outputs.
    """
    import torch

    try:
        with torch.inference_mode():
            outputs = module.eval()(torch.zeros(2, *spec.shape))
    except Exception as error:
        raise InputError(
            f"the model does not run on input {(2, *spec.shape)}: {error}",
            where="model.input.shape",
        ) from error
    if not torch.is_tensor(outputs) or outputs.ndim != _MATRIX:
        found = tuple(outputs.shape) if torch.is_tensor(outputs) else type(outputs).__name__
        raise InputError(f"the model returns {found}, expected logits (N, classes)", where="model")
    if outputs.shape[1] != classes:
        raise InputError(
            f"the model has {outputs.shape[1]} outputs and the data {classes} classes",
            where="model",
            hint=f"set model.args.num_classes: {classes}, with weights trained for these classes; "
            "or name the model's classes in order, also those that the data lacks: "
            "data.validation.classes",
        )


def score(predictions: "NDArray[np.int64]", split: "Split") -> "ClassificationAccuracy":
    """Return top-1 and top-5."""
    return scores.score(predictions, split.class_indices)


def compare(
    before: "NDArray[np.int64]", after: "NDArray[np.int64]", split: "Split"
) -> "ClassificationChange":
    """Return the paired change of top-1 and top-5, also by class."""
    return scores.compare(before, after, split.class_indices, split.samples.classes)


def agreement(before: "NDArray[np.int64]", after: "NDArray[np.int64]") -> float:
    """Return the share of samples for which both predict the same class."""
    return scores.agreement(before, after)


def changed(
    before: "NDArray[np.int64]", after: "NDArray[np.int64]", split: "Split"
) -> "Iterator[ClassificationPicture]":
    """Yield images that one of the two models has right and the other wrong."""
    return scores.changed(before, after, split)


def evaluate(module: "nn.Module", split: "Split", device: str) -> float:
    """Return top-1 in [0, 1] in torch."""
    import torch

    module.eval()
    hits = 0
    with torch.inference_mode():
        for images, labels in split.batches(_BATCH):
            outputs = module(torch.from_numpy(images).to(device)).argmax(1).cpu().numpy()
            hits += int((outputs == labels).sum())
    return hits / len(split)
