"""Move recipes: every path in a recipe is relative to the recipe's own folder.

The schema marks its paths (``StartsAtRecipe``), and this is the only place that rewrites them.
"""

import os
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import BaseModel

from squeeze.recipe.schema import Recipe
from squeeze.recipe.schema.base import StartsAtRecipe

_Model = TypeVar("_Model", bound=BaseModel)


def moved(recipe: Recipe, start: Path, folder: Path) -> Recipe:
    """Return a recipe that means the same from another folder.

    Args:
        recipe: A valid recipe.
        start: The folder where its paths start.
        folder: The folder where they are to start; it need not exist yet.

    Returns:
        The recipe with relative paths rewritten; absolute ones stay, and so do keys left out.
    """
    there = Path(os.path.realpath(folder))
    here = Path(os.path.realpath(start))
    return recipe if here == there else _moved(recipe, here, there)


def plain(recipe: Recipe) -> dict[str, object]:
    """Return what a recipe's file would hold: only the keys that were given."""
    return recipe.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _moved(block: _Model, start: Path, folder: Path) -> _Model:
    changed: dict[str, object] = {}
    for key in block.model_fields_set:
        given = getattr(block, key)
        mark = _mark(type(block), key)
        if mark is not None and isinstance(given, str):
            changed[key] = _rewritten(given, mark, start, folder)
        else:
            changed[key] = _with_blocks_moved(given, start, folder)
    return block.model_copy(update=changed)


def _with_blocks_moved(value: object, start: Path, folder: Path) -> object:
    if isinstance(value, tuple):
        return tuple(_with_blocks_moved(item, start, folder) for item in value)
    return _moved(value, start, folder) if isinstance(value, BaseModel) else value


def _mark(model: type[BaseModel], key: str) -> StartsAtRecipe | None:
    """Return how a field holds a path, if it does; unions keep the marks of their members."""
    field = model.model_fields[key]
    waiting: list[object] = [*field.metadata, field.annotation]
    while waiting:
        found = waiting.pop()
        if isinstance(found, StartsAtRecipe):
            return found
        waiting += getattr(found, "__metadata__", ())
        waiting += get_args(found)
    return None


def _rewritten(text: str, mark: StartsAtRecipe, start: Path, folder: Path) -> str:
    path, rest = mark.split(text)
    if not path or Path(path).is_absolute():
        return text
    above = [part == ".." for part in Path(path).parts]
    # behind a link, '..' leads elsewhere; without it, links stay links
    turns = above != sorted(above, reverse=True)
    target = os.path.realpath(start / path) if turns else start / path
    relative = os.path.relpath(target, folder)
    if os.sep not in relative and (rest or mark.split(relative) != (relative, "")):
        relative = f".{os.sep}{relative}"
    return relative + rest
