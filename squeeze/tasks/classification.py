"""Image classification: logits ``(N, classes)``, integer labels ``(N,)``."""

from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.errors import InputError, SqueezeError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from squeeze.recipe.schema import InputSpec

TOP = 5
_MATRIX = 2


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


def predictions(outputs: "NDArray[np.float32]") -> "NDArray[np.int64]":
    """Return the five most likely classes ``(N, 5)``, best first; fewer if there are fewer.

    Raises:
        SqueezeError: The outputs hold NaN.
    """
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
            hint=f"set model.args.num_classes: {classes}, with weights trained for these classes",
        )
