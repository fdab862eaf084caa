"""``squeeze list``."""

import json as json_format
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import completion, names, options
from squeeze.core import plugins

if TYPE_CHECKING:
    from collections.abc import Mapping

    from squeeze.core.descriptions import ExtensionDescription

KINDS = (*names.KINDS, *plugins.KINDS)


def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(
            help=f"One of {', '.join(KINDS)}. Default: all.", autocompletion=completion.of(KINDS)
        ),
    ] = None,
    json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """List what recipes can name.

    With a kind, every name has a description and, where there is one, its paper.
    """
    del debug
    from squeeze.cli import console
    from squeeze.core.errors import InputError, unknown_name

    if kind is not None and kind not in KINDS:
        raise InputError(unknown_name("kind", kind, KINDS))
    by_kind = {each: _described(each) for each in (KINDS if kind is None else (kind,))}
    if json:
        plain = {
            each: {name: asdict(text) for name, text in named.items()}
            for each, named in by_kind.items()
        }
        console.out(json_format.dumps(plain, indent=1))
        return
    if kind is None:
        for each, named in by_kind.items():
            console.out(f"{each}: {names.summarized(each, named)}")
        return
    width = max(map(len, by_kind[kind]), default=0)
    for name, description in by_kind[kind].items():
        console.out(f"{name:{width}}  {description.title}".rstrip())
        if description.source:
            console.out(f"{'':{width}}  {description.source}")


def _described(kind: str) -> "Mapping[str, ExtensionDescription]":
    from squeeze.core.descriptions import describe

    return names.KINDS[kind]() if kind in names.KINDS else describe(plugins.KINDS[kind])
