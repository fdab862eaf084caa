"""What extensions' docstrings say about them, read from their files without importing them."""

import ast
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from squeeze.core import plugins

_SOURCE = re.compile(r"Source:\s*(.*?https?://[^\s)>;,]+\)?)", re.DOTALL)


@dataclass(frozen=True)
class ExtensionDescription:
    """An extension in words.

    Attributes:
        title: The first line of its docstring.
        source: What follows ``Source:``, up to the first address.
    """

    title: str = ""
    source: str = ""


def describe(group: str) -> dict[str, ExtensionDescription]:
    """Return the description of every extension of a group; empty where there is no docstring."""
    return {name: _read(_file(module)) for name, module in plugins.names(group).items()}


def _file(module: str) -> Path | None:
    """Find a module's file; only its outermost package is looked up, and nothing is imported."""
    package, *inner = module.split(".")
    spec = find_spec(package)
    if spec is None:
        return None
    roots = [Path(root) for root in spec.submodule_search_locations or ()]
    files = [root.joinpath(*inner).with_suffix(".py") for root in roots if inner]
    files += [root.joinpath(*inner, "__init__.py") for root in roots]
    files += [Path(spec.origin)] if spec.origin else []
    return next((file for file in files if file.is_file()), None)


def _read(file: Path | None) -> ExtensionDescription:
    if file is None:
        return ExtensionDescription()
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    source = _SOURCE.search(text)
    return ExtensionDescription(
        text.partition("\n")[0], " ".join(source[1].split()) if source else ""
    )
