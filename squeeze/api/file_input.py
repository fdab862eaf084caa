"""What a file is fed: by what is given, its descriptions, or the shape of its own input."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.core.errors import InputError
from squeeze.exporting.description import FileDescription

if TYPE_CHECKING:
    from pydantic import ValidationError

    from squeeze.recipe.schema import InputSpec
    from squeeze.runtimes.base import FileInput

_FEWEST_LEVELS = 16


@dataclass(frozen=True)
class Wording:
    """How errors tell a caller to say what a file does not.

    Attributes:
        damaged: What to do about a damaged description.
        shape: What to do where nothing tells the input's shape.
        fit: What to do where a file does not run on its input.
        pixels: What to do where mean and std leave too few values.
        classes: What to do where the data lacks classes.
        given: Where keys of the input come from that the caller gives.
        place: Returns what gives a key of the input, or the target.
    """

    damaged: str
    shape: str
    fit: str
    pixels: str
    classes: str
    given: str
    place: Callable[[str], str]


_EXAMPLE = "give an example of its input: example=torch.randn(1, C, H, W)"
IN_PYTHON = Wording(
    damaged="remove it and give example=squeeze.InputSpec(shape=…, mean=…, std=…)",
    shape=_EXAMPLE,
    fit=_EXAMPLE,
    pixels="leave mean and std out of the example to feed pixels as they are",
    classes="if the data lacks some of the model's classes, name all of them in 'classes'",
    given="the example",
    place=lambda key: f"example: {key}",
)


def input_of(
    given: Mapping[str, object],
    description: FileDescription,
    own: "FileInput | None",
    fallback: "tuple[int, ...] | None",
    about: tuple[Path, Wording],
) -> "tuple[InputSpec, str]":
    """Return what a file is fed, and where that comes from, in words.

    Args:
        given: Keys of the input, which go before everything else.
        description: What is written about the file, and then what its own input tells.
        own: Its own input; None of a bundle.
        fallback: ``(C, H, W)`` where nothing else tells it.
        about: The file, and how errors are worded.

    Raises:
        InputError: Nothing tells the shape, or a value does not fit.
    """
    from pydantic import ValidationError

    from squeeze.recipe.schema import InputSpec

    path, wording = about
    values, source = description.values | dict(given), description.source
    if given:
        source = (
            f"{', '.join(sorted(given))} from {wording.given}, the rest from {description.source}"
        )
    if "shape" not in values and fallback is not None:
        values["shape"] = fallback
    if "shape" not in values:
        dims = "x".join("?" if side is None else str(side) for side in own.dims) if own else ""
        raise InputError(
            f"has no description, and its input of {dims} (? is dynamic) is not an image's shape",
            where=str(path),
            hint=wording.shape,
        )
    try:
        return InputSpec.model_validate(values), source
    except ValidationError as error:
        described_in = description.source if description.is_written else ""
        raise _wrong(error, given, path, wording, described_in) from error


def _wrong(
    error: "ValidationError",
    given: Mapping[str, object],
    path: Path,
    wording: Wording,
    described_in: str,
) -> InputError:
    """Return what is wrong with an input, in terms of what gave it."""
    from squeeze.recipe import explain

    item = error.errors()[0]
    what, keys = explain.rule(dict(item)), [str(part) for part in item["loc"][:1]]
    meant = keys or re.findall(r"\w+", what)
    places = [wording.place(key) for key in sorted(given) if key in meant]
    if places:
        return InputError(what, where=", ".join(places))
    blamed = f"input: {''.join(f'{key}: ' for key in keys)}{what}"
    if not described_in:
        return InputError(blamed, where=str(path))
    return InputError(f"{described_in} is damaged: {blamed}", where=str(path), hint=wording.damaged)


def refuse_few_levels(
    own: "FileInput | None", spec: "InputSpec", path: Path, wording: Wording
) -> None:
    """Refuse a mean and std that leave next to nothing of the pixels in an input of integers.

    Raises:
        InputError: All pixels become a handful of integers.
    """
    levels = None if own is None else own.levels(spec.mean, spec.std)
    if own is not None and levels is not None and levels < _FEWEST_LEVELS:
        raise InputError(
            f"takes {own.type}, and pixels prepared with mean "
            f"{', '.join(f'{x:.6g}' for x in spec.mean)} and std "
            f"{', '.join(f'{x:.6g}' for x in spec.std)} use only {levels:.3g} of its 256 values",
            where=str(path),
            hint=wording.pixels,
        )


def completed(description: FileDescription, own: "FileInput", layout: str) -> FileDescription:
    """Fill in what the file's own input tells."""
    values = dict(description.values)
    source = description.source
    if len(own.dims) == len(layout) and "shape" not in values:
        shape = own.image(layout)
        if None not in shape:
            values["shape"] = shape
            source = "the file's own input and defaults"
    plain = own.of_pixels()
    if plain is not None and not description.values:
        values |= {"mean": plain[:1], "std": plain[1:]}
    return replace(description, values=values, layout=layout, source=source)
