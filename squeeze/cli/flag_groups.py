"""Groups of flags: a verb with a parameter of a dataclass has the flags that are its fields."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from functools import wraps
from typing import get_type_hints

from squeeze.cli import options
from squeeze.cli.values import numbers

_NUMBERS = {"input": "shape", "mean": "mean", "std": "std"}
"""Flags of several numbers, and their keys in a recipe's input."""


def flat(verb: Callable[..., None]) -> Callable[..., None]:
    """Return the verb with the flags of its groups in place of the groups.

    Flags that must be given come first, as Typer shows them in this order.

    Args:
        verb: Every parameter is a flag, or a dataclass of flags or of further dataclasses.
    """
    flags = list(_flags(verb))
    required = [flag for flag in flags if flag.default is inspect.Parameter.empty]
    optional = [flag for flag in flags if flag.default is not inspect.Parameter.empty]
    ordered = [*required, *optional]

    @wraps(verb)
    def called(**values: object) -> None:
        verb(**_arguments(verb, values))

    called.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
    called.__annotations__ = {flag.name: flag.annotation for flag in ordered}
    return called


def _flags(function: Callable[..., object]) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(function, include_extras=True)
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        if is_dataclass(hint) and isinstance(hint, type):
            yield from _flags(hint)
        else:
            yield parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY)


def _arguments(function: Callable[..., object], values: Mapping[str, object]) -> dict[str, object]:
    hints = get_type_hints(function, include_extras=True)
    arguments: dict[str, object] = {}
    for name in inspect.signature(function).parameters:
        hint = hints[name]
        if is_dataclass(hint) and isinstance(hint, type):
            arguments[name] = hint(**_arguments(hint, values))
        else:
            arguments[name] = values[name]
    return arguments


@dataclass(frozen=True, kw_only=True)
class Switches:
    """What most verbs take; ``allow_code`` and ``debug`` act by themselves."""

    quiet: options.Quiet = False
    json: options.AsJson = False
    allow_code: options.AllowCode = None
    debug: options.Debug = False


@dataclass(frozen=True, kw_only=True)
class InputFlags:
    """What a model is fed."""

    input: options.Shape = None
    mean: options.Mean = None
    std: options.Std = None
    crop_fraction: options.CropFraction = None
    fit: options.Fit = None
    interpolation: options.Interpolation = None
    channel_order: options.ChannelOrder = None

    def given(self) -> dict[str, object]:
        """Return the keys of a recipe's ``input`` that flags set.

        Raises:
            InputError: Numbers that are none.
        """
        keys: dict[str, object] = {}
        for flag in inspect.signature(type(self)).parameters:
            value = getattr(self, flag)
            if value is None:
                continue
            if flag in _NUMBERS:
                keys[_NUMBERS[flag]] = numbers(value, f"--{flag}")
            else:
                keys[flag] = value
        return keys


@dataclass(frozen=True, kw_only=True)
class FileInputFlags:
    """What a file is fed."""

    of_model: InputFlags
    layout: options.Layout = None

    def given(self) -> dict[str, object]:
        """Return the keys of a recipe's ``input`` that flags set, and ``layout``."""
        layout = {} if self.layout is None else {"layout": self.layout}
        return self.of_model.given() | layout
