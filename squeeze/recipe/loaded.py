"""A recipe as it was read, with the place of every value."""

from dataclasses import dataclass
from pathlib import Path

from squeeze.recipe.document import SourceMap
from squeeze.recipe.schema import Recipe


@dataclass(frozen=True)
class LoadedRecipe:
    """A valid recipe, the folder its relative paths start from, and its positions."""

    recipe: Recipe
    folder: Path
    source: SourceMap
