"""From a detector's raw outputs to detections, in the same way for every runtime."""

from importlib import import_module
from typing import TYPE_CHECKING, cast

import numpy as np

from squeeze.core.boxes import Detections
from squeeze.core.errors import InputError, SqueezeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import nn

    from squeeze.core.detector import DetectorSpec
    from squeeze.tasks.detection.decoders.base import Decoder

_HINT = (
    "a detector returns a tuple of class logits (N, A, columns), box regression (N, A, 4) and, "
    "with DetectorSpec(quality=True), objectness or centerness (N, A, 1); with decoder two_stage "
    "(N, P, columns), (N, P, 4 * columns) and proposals (N, P, 5)"
)


def decoder(spec: "DetectorSpec") -> "Decoder":
    """Return the functions of the spec's decoder."""
    return cast("Decoder", import_module(f"squeeze.tasks.detection.decoders.{spec.decoder}"))


def detections(
    outputs: "Sequence[NDArray[np.float32]]", spec: "DetectorSpec", size: tuple[int, int]
) -> list[Detections]:
    """Return what a batch's raw outputs find, image by image, in pixels of the input.

    Args:
        outputs: As the module returns them, see ``squeeze.core.detector``.
        spec: The detector's numbers.
        size: Height and width of the input.

    Raises:
        SqueezeError: The outputs hold NaN or infinity.
        InputError: They are not what the spec describes.
    """
    import torch

    from squeeze.tasks.detection import nms
    from squeeze.tasks.detection.decoders import base

    check_shapes([tuple(array.shape) for array in outputs], spec, size)
    for name, array in zip(spec.names, outputs, strict=True):
        if not np.isfinite(array).all():
            raise SqueezeError(f"the model's {name} hold NaN or infinity")
    with torch.inference_mode():
        tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in outputs]
        places = base.places(spec, size, tensors[0])
        found = []
        for one in decoder(spec).candidates(tensors, places, spec):
            kept, scores = nms.suppress(one, spec)
            found.append(
                Detections.of(one.boxes[kept].numpy(), scores.numpy(), one.classes[kept].numpy())
            )
    return found


def check_shapes(
    shapes: "Sequence[tuple[int, ...]]", spec: "DetectorSpec", size: tuple[int, int]
) -> None:
    """Compare the shapes of outputs with the spec.

    Args:
        shapes: Of the outputs, in order.
        spec: The detector's numbers.
        size: Height and width of the input.

    Raises:
        InputError: With what was expected and what was found.
    """
    if spec.size is not None and tuple(size) != spec.size:
        raise InputError(
            f"the detector takes inputs of {spec.size[0]}x{spec.size[1]} pixels only, "
            f"not {size[0]}x{size[1]}",
            where="model.input.shape",
        )
    if len(shapes) != spec.outputs:
        raise InputError(
            f"the detector returns {len(shapes)} tensors, its spec says {spec.outputs}",
            where="model",
            hint=_HINT,
        )
    places = spec.places(size) or (shapes[0][1] if len(shapes[0]) > 1 else 0)
    batch = shapes[0][0] if shapes[0] else 0
    for name, shape, width in zip(spec.names, shapes, spec.widths, strict=True):
        if shape != (batch, places, width):
            raise InputError(
                f"the detector's {name} have shape {shape}; expected (N, {places}, {width}) for an "
                f"input of {size[0]}x{size[1]} pixels",
                where="model",
                hint=_HINT,
            )


def check_module(module: "nn.Module", size: tuple[int, int], channels: int) -> "DetectorSpec":
    """Run a detector once and compare what it returns with its spec.

    Args:
        module: Carries ``detector``.
        size: Height and width of the input.
        channels: Of the input.

    Returns:
        The spec.

    Raises:
        InputError: There is no spec, the model does not run, or returns something else.
    """
    import torch

    from squeeze.core.detector import DetectorSpec

    spec = getattr(module, "detector", None)
    if not isinstance(spec, DetectorSpec):
        raise InputError(
            "is not a detector: its attribute 'detector' is "
            f"{'missing' if spec is None else type(spec).__name__}, expected a DetectorSpec",
            where="model",
            hint="torchvision's detectors and builtin ones have it; set it in a factory of yours",
        )
    try:
        with torch.inference_mode():
            outputs = module.eval()(torch.zeros(2, channels, *size))
    except Exception as error:
        raise InputError(
            f"the model does not run on input {(2, channels, *size)}: {error}",
            where="model.input.shape",
        ) from error
    if not isinstance(outputs, tuple | list) or not all(torch.is_tensor(o) for o in outputs):
        raise InputError(f"the detector returns {_described(outputs)}", where="model", hint=_HINT)
    check_shapes([tuple(output.shape) for output in outputs], spec, size)
    return spec


def _described(outputs: object) -> str:
    if isinstance(outputs, tuple | list):
        kinds = ", ".join(type(output).__name__ for output in outputs)
        return f"a {type(outputs).__name__} of {kinds}"
    return f"one {type(outputs).__name__}, expected a tuple of tensors"
