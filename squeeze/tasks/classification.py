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


def loss(outputs: "Tensor", labels: "Tensor", *, label_smoothing: float) -> "Tensor":
    """Return the mean cross-entropy."""
    from torch.nn import functional

    return functional.cross_entropy(outputs, labels, label_smoothing=label_smoothing)


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
