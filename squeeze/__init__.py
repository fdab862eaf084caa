"""Prune, distill and quantize image models, and measure what ships.

The names below are the public API. They load lazily, so that ``import squeeze`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from squeeze._version import __version__

if TYPE_CHECKING:
    from squeeze.api.benchmark import benchmark
    from squeeze.api.distill import distill
    from squeeze.api.evaluate import evaluate
    from squeeze.api.export import export
    from squeeze.api.inspect import inspect
    from squeeze.api.prune import prune
    from squeeze.api.quantize import quantize
    from squeeze.api.run import run
    from squeeze.api.train import train
    from squeeze.core.errors import InputError, SqueezeError
    from squeeze.models.bundle import load_bundle, save_bundle
    from squeeze.recipe.load import load_recipe
    from squeeze.recipe.schema import InputSpec, Recipe

__all__ = [
    "InputError",
    "InputSpec",
    "Recipe",
    "SqueezeError",
    "__version__",
    "benchmark",
    "distill",
    "evaluate",
    "export",
    "inspect",
    "load_bundle",
    "load_recipe",
    "prune",
    "quantize",
    "run",
    "save_bundle",
    "train",
]

_HOME = {
    "InputError": "squeeze.core.errors",
    "InputSpec": "squeeze.recipe.schema",
    "Recipe": "squeeze.recipe.schema",
    "SqueezeError": "squeeze.core.errors",
    "benchmark": "squeeze.api.benchmark",
    "distill": "squeeze.api.distill",
    "evaluate": "squeeze.api.evaluate",
    "export": "squeeze.api.export",
    "inspect": "squeeze.api.inspect",
    "load_bundle": "squeeze.models.bundle",
    "load_recipe": "squeeze.recipe.load",
    "prune": "squeeze.api.prune",
    "quantize": "squeeze.api.quantize",
    "run": "squeeze.api.run",
    "save_bundle": "squeeze.models.bundle",
    "train": "squeeze.api.train",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562: the attribute decides its type)
    """Import a public name on its first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'squeeze' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """Return the public names, which ``dir`` would not see before their first use."""
    return list(__all__)
