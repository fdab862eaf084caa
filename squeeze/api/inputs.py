"""What callers hand in as a model: a module, a result, or a bundle's folder; never changed."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pydantic import ValidationError

from squeeze.core.detector import DetectorSpec
from squeeze.core.errors import InputError
from squeeze.models import usable
from squeeze.models.copying import copied
from squeeze.models.types import Architecture, Model
from squeeze.models.weights import refuse_nan
from squeeze.recipe import explain
from squeeze.recipe.schema import InputSpec

if TYPE_CHECKING:
    from typing import TypeAlias, TypeVar

    from pydantic_core import ErrorDetails
    from torch import Tensor, nn

    from squeeze.recipe.schema import Block

    Kind = TypeVar("Kind", bound=Block)

    ModelLike: TypeAlias = "nn.Module | Model | HasModel | str | Path"
    """A module, a result of another verb, or the folder of a bundle."""

    Example: TypeAlias = "Tensor | InputSpec | tuple[int, ...] | list[int]"
    """Images ``(N, C, H, W)``, a shape ``(C, H, W)``, or all that is known of the input."""

_IMAGES_RANK, _SHAPE_RANK, _LOGITS_RANK = 4, 3, 2
_SHOWN = 5


@runtime_checkable
class HasModel(Protocol):
    """A result that holds a torch model."""

    @property
    def source(self) -> Model:
        """The model, with what is known of it."""
        ...


def model_of(
    given: "ModelLike",
    example: "Example | None" = None,
    *,
    shape: tuple[int, ...] | None = None,
    trains: bool = False,
    where: str = "model",
) -> Model:
    """Return a copy of what was given, on the CPU and in eval mode, that is known to run.

    Args:
        given: See ``ModelLike``.
        example: What the model is fed, where it does not know that itself.
        shape: ``(C, H, W)`` of the data's images, in place of an example.
        trains: Whether the copy is going to be trained, so that training mode is no mistake.
        where: The argument's name.

    Raises:
        InputError: No model, one in training mode or on several devices, no example of the input,
            an example on another device, or a model that does not run on it.
    """
    from torch import nn

    if isinstance(given, str | Path):
        from squeeze.models import bundle

        model = bundle.load(Path(given))
    elif isinstance(given, nn.Module):
        model = Model(given, Architecture("", Path.cwd(), {}, _UNKNOWN))
    elif isinstance(given, HasModel):
        model = given.source
    else:
        model = _checked(given, where)
    _check_state(model.module, example, where, trains=trains)
    spec = _spec(model, example, shape, where)
    module = usable.checked(copied(model.module).cpu(), where)
    refuse_nan(module, where)
    model_copy = Model(module, model.architecture).fed(spec)
    outputs(model_copy, where)
    return model_copy


_UNKNOWN = InputSpec(shape=(1, 1, 1))
"""Stands for the input of a module until an example or data tells it."""


def _checked(given: object, where: str) -> Model:
    if isinstance(given, Model):
        return given
    raise InputError(
        f"found a {type(given).__name__}, expected a torch.nn.Module, a result of squeeze, or the "
        "folder of a bundle",
        where=where,
    )


def _check_state(
    module: "nn.Module", example: "Example | None", where: str, *, trains: bool
) -> None:
    """Refuse a mode or devices by which a model does not compute what it is going to serve."""
    import torch

    learning = [path for path, part in module.named_modules() if part.training]
    if learning and not trains:
        parts = "" if not learning[0] else f": {', '.join(learning[:_SHOWN])}"
        raise InputError(
            f"is in training mode{parts}",
            where=where,
            hint="call .eval() on it first: dropout and batch norms act otherwise while training",
        )
    kinds = {
        str(tensor.dtype).removeprefix("torch.")
        for tensor in module.parameters()
        if tensor.is_floating_point()
    }
    if kinds - {"float32"}:
        raise InputError(
            f"has parameters of {', '.join(sorted(kinds))}, expected float32",
            where=where,
            hint="call .float() on it; quantize(scheme='fp16') makes a half-precision file",
        )
    devices = {str(tensor.device) for tensor in (*module.parameters(), *module.buffers())}
    if len(devices) > 1:
        raise InputError(
            f"has tensors on several devices: {', '.join(sorted(devices))}",
            where=where,
            hint="move all of it to one: model.to('cpu')",
        )
    if torch.is_tensor(example) and devices and str(example.device) not in devices:
        raise InputError(
            f"is on {example.device}, the model on {devices.pop()}",
            where="example",
            hint="move one of them: example.to(device)",
        )


def _spec(
    model: Model, example: "Example | None", shape: tuple[int, ...] | None, where: str
) -> InputSpec:
    """Return what the model is fed."""
    detects = detector_of(model) is not None
    if example is not None:
        return spec_of(example, detects=detects)
    if model.input is not _UNKNOWN:
        return model.input
    if shape is not None:
        return _of_shape(shape, "data", detects=detects)
    raise InputError(
        "does not say what it is fed",
        where=where,
        hint="give an example of the input: example=torch.randn(1, 3, 224, 224)",
    )


def spec_of(example: "Example", *, detects: bool = False) -> InputSpec:
    """Return what an example tells of a model's input.

    Args:
        example: See ``Example``.
        detects: Whether the model is a detector, from whose images nothing may be cut off.

    Raises:
        InputError: It is no batch of images and no shape of one.
    """
    import torch

    if isinstance(example, InputSpec):
        return example
    if torch.is_tensor(example):
        if example.ndim != _IMAGES_RANK or not example.is_floating_point():
            hint = "add the batch: example.unsqueeze(0)" if example.ndim == _SHAPE_RANK else None
            raise InputError(
                f"is {example.dtype} {tuple(example.shape)}, expected floats (N, C, H, W)",
                where="example",
                hint=hint,
            )
        return _of_shape(tuple(example.shape[1:]), "example", detects=detects)
    if isinstance(example, tuple | list):
        return _of_shape(tuple(example), "example", detects=detects)
    raise InputError(
        f"found a {type(example).__name__}, expected a tensor (N, C, H, W), a shape (C, H, W) or "
        "an InputSpec",
        where="example",
    )


def _of_shape(shape: tuple[int, ...], where: str, *, detects: bool) -> InputSpec:
    fit = {"fit": "letterbox"} if detects else {}
    try:
        return InputSpec.model_validate({"shape": shape} | fit)
    except ValidationError as error:
        what = explain.rule(dict(error.errors()[0]))
        raise InputError(f"images of {shape}: {what}", where=where) from error


def outputs(model: Model, where: str = "model") -> "tuple[Tensor, ...]":
    """Return what the model makes of two blank images.

    Raises:
        InputError: It does not run on its input, or returns something else than tensors.
    """
    import torch

    blank = torch.zeros(2, *model.input.shape)
    try:
        with torch.inference_mode():
            returned = model.module(blank)
    except Exception as error:
        raise InputError(
            f"does not run on images of {tuple(blank.shape)}: {type(error).__name__}: {error}",
            where=where,
            hint="give an example of its input: example=torch.randn(1, C, H, W)",
        ) from error
    several = (returned,) if torch.is_tensor(returned) else returned
    if not isinstance(several, tuple | list) or not all(torch.is_tensor(one) for one in several):
        raise InputError(
            f"returns a {type(returned).__name__}, expected logits (N, classes) or a detector's "
            "tensors",
            where=where,
            hint="wrap it in a module whose forward returns the tensors",
        )
    return tuple(several)


def at_least_one(value: int, where: str) -> None:
    """Raise ``InputError`` for a count below 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"found {value!r}, allowed: an integer of at least 1", where=where)


def detector_of(model: Model) -> DetectorSpec | None:
    """Return how a detector's outputs are read; None of a classifier."""
    detector = getattr(model.module, "detector", None)
    return detector if isinstance(detector, DetectorSpec) else None


def classes_of(model: Model) -> int:
    """Return how many classes the model knows.

    Raises:
        InputError: Its outputs are neither logits ``(N, classes)`` nor a detector's.
    """
    detector = detector_of(model)
    if detector is not None:
        return detector.classes
    tensors = outputs(model)
    if len(tensors) > 1 or tensors[0].ndim != _LOGITS_RANK:
        shapes = ", ".join(str(tuple(one.shape)) for one in tensors)
        raise InputError(
            f"returns {shapes} for two images, expected logits (N, classes)", where="model"
        )
    return int(tensors[0].shape[1])


def block_of(
    kind: "type[Kind]",
    given: "Mapping[str, object]",
    settings: object,
    verb: str,
) -> "Kind":
    """Return a recipe's block from a call's arguments and further settings.

    Args:
        kind: The block.
        given: The arguments of the call; None was not given.
        settings: Further keys of the block.
        verb: For messages.

    Raises:
        InputError: An unknown key, one that is given twice, or a value out of range.
    """
    if settings is not None and not isinstance(settings, Mapping):
        given_type = type(settings).__name__
        raise InputError(f"found a {given_type}, expected a mapping", where=f"{verb}: settings")
    further = dict(settings or {})
    own = {key: value for key, value in given.items() if value is not None}
    twice = sorted(own.keys() & further.keys())
    if twice:
        raise InputError(f"{', '.join(twice)} is given twice", where=f"{verb}: settings")
    try:
        return kind.model_validate(own | further)
    except ValidationError as error:
        mistakes = [_mistake(item, kind) for item in error.errors()]
        raise InputError("; ".join(dict.fromkeys(mistakes)), where=verb) from error


def _mistake(item: "ErrorDetails", kind: "type[Kind]") -> str:
    from squeeze.core.errors import unknown_name

    path = [str(part) for part in item["loc"]]
    if item["type"] == "extra_forbidden" and len(path) == 1:
        return unknown_name("key", path[0], kind.model_fields)
    if item["type"] == "missing":
        return f"settings need the key '{'.'.join(path)}'"
    what = explain.rule(dict(item))
    return f"{'.'.join(path)}: {what}" if path else what
