"""``squeeze list``."""

from typing import Annotated

import typer

from squeeze.core import plugins


def list_names(
    kind: Annotated[
        str | None, typer.Argument(help=f"One of {', '.join(plugins.KINDS)}; all without it.")
    ] = None,
) -> None:
    """Name the extensions that recipes can use; of one kind with what they do and their paper."""
    from squeeze.cli import console
    from squeeze.core.descriptions import describe
    from squeeze.core.errors import InputError, unknown_name

    if kind is None:
        for name, group in plugins.KINDS.items():
            console.out(f"{name}: {', '.join(plugins.names(group))}")
        return
    if kind not in plugins.KINDS:
        raise InputError(unknown_name("kind", kind, plugins.KINDS))
    found = describe(plugins.KINDS[kind])
    width = max(map(len, found), default=0)
    for name, description in found.items():
        console.out(f"{name:{width}}  {description.title}".rstrip())
        if description.source:
            console.out(f"{'':{width}}  {description.source}")
