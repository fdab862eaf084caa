"""``squeeze.run``."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from squeeze.api import tables
from squeeze.api.files import folder_path
from squeeze.api.progress import chosen
from squeeze.core import permission
from squeeze.core.errors import InputError
from squeeze.models import bundle
from squeeze.pipeline import run as pipeline
from squeeze.recipe import bundles
from squeeze.recipe.load import from_data, load_recipe
from squeeze.recipe.loaded import LoadedRecipe
from squeeze.recipe.schema import Recipe
from squeeze.results import Results
from squeeze.store import RECIPE, RunFolder

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import nn

    from squeeze.core.types import Progress

_MS = 1000


class RunResult(NamedTuple):
    """A finished run: its record and its folder.

    Attributes:
        results: What ``results.json`` holds; every report is rendered from it.
        folder: Of the run; ``folder.path`` is where bundles, files and reports are.
    """

    results: Results
    folder: RunFolder

    @property
    def passed(self) -> bool:
        """Whether no gate failed."""
        return self.results.passed

    @property
    def model(self) -> "nn.Module":
        """The float model after the last step that changed the module, in eval mode.

        Raises:
            InputError: Its bundle is gone or damaged.
        """
        kept = [record.bundle for record in self.results.models if record.bundle is not None]
        loaded = load_recipe(self.folder.path / RECIPE)
        with permission.allowing(bundles.factories(loaded), loaded.folder):
            return bundle.load(self.folder.path / kept[-1]).module

    @property
    def files(self) -> tuple[Path, ...]:
        """The files and bundles that were measured, each once."""
        named = (row.artifact for row in self.results.rows if row.artifact is not None)
        return tuple(dict.fromkeys(self.folder.path / name for name in named))

    @property
    def candidate(self) -> tuple[Path, ...]:
        """The files and bundles of the last model."""
        name, folder = self.results.models[-1].name, self.folder.path
        files = [path for path in (folder / "artifacts").glob(f"{name}*") if path.suffix != ".json"]
        rows = (row for row in self.results.rows if row.model == name)
        bundles = (folder / row.artifact for row in rows if row.artifact is not None)
        return tuple(dict.fromkeys([*sorted(files), *filter(Path.is_dir, bundles)]))

    def to_dict(self) -> dict[str, object]:
        """Return what ``results.json`` holds."""
        return self.results.model_dump(mode="json")

    def to_dataframe(self) -> "DataFrame":
        """Return a row per model and target as a ``pandas.DataFrame``; latencies in ms."""
        return tables.dataframe(self._rows())

    def _repr_html_(self) -> str:
        verdict = "passed" if self.passed else "a gate failed"
        title = f"{self.results.name}: {verdict}, {self.folder.path}"
        return tables.html(title, self._rows(), self.results.warnings)

    def _rows(self) -> list[dict[str, object]]:
        return [
            {
                "model": row.model,
                "target": row.target,
                "batch_size": row.batch_size,
                "size_bytes": row.size_bytes,
                "metric": row.accuracy and row.accuracy.headline[0],
                "accuracy": row.accuracy and row.accuracy.headline[1].value,
                "median_ms": row.latency and _MS * row.latency.median_s,
                "speedup": row.speedup and row.speedup.value,
                "skipped": row.skipped,
            }
            for row in self.results.rows
        ]


def run(
    recipe: "str | Path | Mapping[str, object] | Recipe | LoadedRecipe",
    *,
    output: str | Path = "runs",
    overrides: Sequence[str] = (),
    progress: "Progress | bool | None" = None,
    command: str = "",
    fresh: bool = False,
    remeasure: bool = False,
) -> RunResult:
    """Run a recipe from its data to its report.

    Args:
        recipe: A YAML file, what it holds as a mapping, a ``Recipe``, or one that is loaded.
            Relative paths start at the file's folder, else at the current one.
        output: The run's folder is made as ``<output>/<recipe name>/<time>/``.
        overrides: ``path.to.key=value`` strings; not for a recipe that is loaded already.
        progress: True, False, an object of your own, or None: shown in terminals and notebooks.
        command: Recorded in the report.
        fresh: Compute every step anew instead of reusing those of earlier equal runs.
        remeasure: Take measurements anew instead of reusing those of earlier equal runs.

    Returns:
        The record, and the folder that holds bundles, files and reports.

    Raises:
        InputError: Something in the recipe or its data is wrong; nothing was written.
        SqueezeError: A step failed; finished steps are kept and reused by the next run.

    Example:
        >>> results, folder = squeeze.run("recipe.yaml", output="runs")
        >>> results.passed
        True
    """
    results, folder = pipeline.run(
        _loaded(recipe, overrides),
        output=folder_path(output),
        progress=chosen(progress),
        command=command,
        fresh=fresh,
        remeasure=remeasure,
    )
    return RunResult(results, folder)


def _loaded(recipe: object, overrides: Sequence[str]) -> LoadedRecipe:
    """Return a valid recipe, whatever it came as."""
    if isinstance(overrides, str):
        raise InputError(f"found '{overrides}', expected a list of texts", where="overrides")
    if isinstance(recipe, LoadedRecipe):
        if overrides:
            raise InputError(
                "are not for a recipe that is loaded already",
                where="overrides",
                hint="give them to load_recipe, or give run the file",
            )
        return recipe
    if isinstance(recipe, str | Path):
        return load_recipe(recipe, overrides)
    if isinstance(recipe, Recipe):
        recipe = recipe.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if not isinstance(recipe, Mapping):
        raise InputError(
            f"found a {type(recipe).__name__}, expected a file, a mapping or a Recipe",
            where="recipe",
        )
    return from_data(deepcopy(dict(recipe)), Path.cwd(), overrides, name="recipe")
