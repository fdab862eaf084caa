"""Prune, distill and quantize image models, and measure what ships.

The names below are the public API. They load lazily, so that ``import squeeze`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from squeeze._version import __version__

if TYPE_CHECKING:
    from squeeze.models.bundle import load_bundle, save_bundle
    from squeeze.pipeline.run import run
    from squeeze.recipe.load import load_recipe

__all__ = ["__version__", "load_bundle", "load_recipe", "run", "save_bundle"]

_HOME = {
    "load_bundle": "squeeze.models.bundle",
    "load_recipe": "squeeze.recipe.load",
    "run": "squeeze.pipeline.run",
    "save_bundle": "squeeze.models.bundle",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562: the attribute decides its type)
    """Import a public name on its first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'squeeze' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
