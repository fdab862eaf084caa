"""``squeeze list``."""

from typing import Annotated

import typer

from squeeze.core import plugins


def list_names(
    kind: Annotated[
        str | None, typer.Argument(help=f"One of {', '.join(plugins.KINDS)}; all without it.")
    ] = None,
) -> None:
    """Name the extensions that recipes can use, without importing them."""
    from squeeze.cli import console
    from squeeze.core.errors import InputError, unknown_name

    if kind is not None and kind not in plugins.KINDS:
        raise InputError(unknown_name("kind", kind, plugins.KINDS))
    for name, group in plugins.KINDS.items():
        if kind in (None, name):
            found = plugins.names(group)
            console.out("\n".join(found) if kind else f"{name}: {', '.join(found)}")
