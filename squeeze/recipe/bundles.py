"""Which code a recipe allows bundles to run, and what is wrong with a bundle that it names."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.core import permission
from squeeze.recipe import records
from squeeze.recipe.document import Path_
from squeeze.recipe.schema import ModelBlock

if TYPE_CHECKING:
    from squeeze.recipe.loaded import LoadedRecipe
    from squeeze.recipe.schema import Recipe

Mistakes = Iterator[tuple[Path_, str]]

_MODELS = ("teacher", "student")


def named(recipe: "Recipe") -> Iterator[tuple[Path_, ModelBlock]]:
    """Yield every model block of a recipe with its place."""
    yield ("model",), recipe.model
    for index, step in enumerate(recipe.steps):
        for key in _MODELS:
            block = getattr(step, key, None)
            if isinstance(block, ModelBlock):
                yield ("steps", index, key), block


def factories(loaded: "LoadedRecipe") -> list[str]:
    """Return the Python functions that a recipe names to build models, with absolute files."""
    return [
        permission.resolved(block.build, loaded.folder)
        for _, block in named(loaded.recipe)
        if block.build and not permission.is_own(block.build)
    ]


def mistakes(block: ModelBlock, weights: Path, folder: Path) -> Mistakes:
    """Yield where a bundle asks for code that is not allowed, with the place inside the block.

    Args:
        block: The recipe's.
        weights: The bundle.
        folder: Where the recipe's relative paths start.
    """
    record = records.read_mapping(weights / "architecture.json")
    build, args = record.get("build"), record.get("args", {})
    if not isinstance(build, str) or not isinstance(args, dict):
        yield ("weights",), f"{block.weights}/architecture.json is damaged"
        return
    if block.build is not None:
        other = permission.mismatch(permission.resolved(block.build, folder), build, weights)
        if other is not None:
            yield ("build",), f"found {block.build}, and {other}"
        return
    refused = permission.refusal(build, args, weights)
    if refused is not None:
        yield ("weights",), f"{block.weights}: {'; '.join(refused)}"
