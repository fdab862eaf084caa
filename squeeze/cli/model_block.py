"""The model block of a recipe that ``MODEL`` and the flags of its input stand for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from squeeze.cli.values import numbers
from squeeze.core import reading

_DEFAULT_SHAPE = "3,224,224"


def model_block(
    model: str, weights: str | None, shape: str | None, others: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the model block that flags stand for.

    Args:
        model: A reference or a bundle folder.
        weights: A file, for references.
        shape: ``C,H,W``; None takes the bundle's or the library's own, else 3,224,224.
        others: Further values of the input, ``mean`` and ``std`` as texts; None takes the bundle's
            or the library's own.
    """
    is_bundle = reading.is_folder(Path(model))
    block: dict[str, Any] = {"weights": model} if is_bundle else {"build": model}
    if weights is not None:
        block["weights"] = weights
    given = {
        key: numbers(value, f"--{key}") if key in {"mean", "std"} else value
        for key, value in others.items()
        if value is not None
    }
    if shape is not None:
        given["shape"] = numbers(shape, "--input")
    elif given or not (is_bundle or _in_library(model)):
        given["shape"] = _own_shape(model, weights, is_bundle=is_bundle)
    if given:
        block["input"] = given
    return block


def _in_library(model: str) -> bool:
    from squeeze.recipe.schema import LIBRARIES

    return model.startswith(LIBRARIES)


def _own_shape(model: str, weights: str | None, *, is_bundle: bool) -> list[float]:
    """Return the shape that goes with other flags."""
    if is_bundle:
        from squeeze.cli.file import open_file

        return list(open_file(Path(model)).spec.shape)
    if _in_library(model):
        from squeeze.models import pretrained_input

        place = None if weights is None else Path(weights)
        spec, _ = pretrained_input.complete(None, model, {}, place)
        if spec is not None:
            return list(spec.shape)
    return numbers(_DEFAULT_SHAPE, "--input")
