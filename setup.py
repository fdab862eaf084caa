"""Puts the recipes into the wheel; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

RECIPES = Path("recipes")
PLACE = Path("squeeze", "recipe", "recipes")


class BuildWithRecipes(build_py):
    """Copies ``recipes/`` into the package; an editable install finds them where they are."""

    def run(self) -> None:
        """Build the package, then add the recipes to it."""
        super().run()
        if self.editable_mode:
            return
        for source, target in self._copies().items():
            self.mkpath(str(target.parent))
            self.copy_file(str(source), str(target))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:  # noqa: FBT001, FBT002
        """Return every file of the build."""
        return [*super().get_outputs(include_bytecode), *map(str, self._copies().values())]

    def _copies(self) -> dict[Path, Path]:
        place = Path(self.build_lib) / PLACE
        return {source: place / source.name for source in sorted(RECIPES.glob("*.*"))}


setup(cmdclass={"build_py": BuildWithRecipes})
