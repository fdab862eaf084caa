"""The whole run: its stages, in order."""

from pathlib import Path

from squeeze.core.journal import Journal
from squeeze.core.types import Progress, Silent
from squeeze.models.types import Model
from squeeze.pipeline import artifacts, models, opening, places
from squeeze.pipeline.measurements import measure_all
from squeeze.pipeline.record import RunTimes, record
from squeeze.pipeline.steps import RunContext
from squeeze.recipe.loaded import LoadedRecipe
from squeeze.report import write
from squeeze.results import Results
from squeeze.store import RunFolder, scratch


@opening.checked
def run(
    loaded: LoadedRecipe,
    *,
    output: Path = Path("runs"),
    progress: Progress | None = None,
    command: str = "",
    fresh: bool = False,
    remeasure: bool = False,
) -> tuple[Results, RunFolder]:
    """Run a recipe from its data to its report.

    Args:
        loaded: A recipe from ``load_recipe``.
        output: The run's folder is made as ``<output>/<recipe name>/<time>/``.
        progress: Where bars and narration go.
        command: Recorded in the report.
        fresh: Compute every step instead of reusing those of earlier equal runs.
        remeasure: Measure again what earlier runs measured; reuse everything else.

    Returns:
        The record, and the folder that holds bundles, files and reports.

    Raises:
        InputError: The recipe, the model or the data is wrong; nothing was written.
        SqueezeError: A step failed; finished steps are kept and reused by the next run.
    """
    journal, times = Journal(progress or Silent()), RunTimes()
    places.check_targets(loaded.recipe.targets)
    journal.say(f"running {loaded.recipe.name}")
    model, data, task = opening.opened(loaded, journal)
    recipe = opening.with_input(loaded.recipe, model)
    times.lap("data")

    with opening.run_folder(output, recipe.name, journal) as folder:
        write.recipe(recipe, loaded.folder, folder.path)
        context = RunContext(
            recipe, loaded.folder, data, task, folder, journal, fresh=fresh, remeasure=remeasure
        )
        return _stages(model, context, journal, times, command), folder


def _stages(
    model: Model, context: RunContext, journal: Journal, times: RunTimes, command: str
) -> Results:
    """Compress, export and quantize, measure, report."""
    folder = context.folder

    states = models.compress(model, context)
    folder.require(state.bundle for state in states)
    times.lap("steps")

    made = artifacts.make(context, states)
    folder.require(made.paths)
    times.lap("export and quantize")

    measured = measure_all(context, states, made)
    times.lap("measure")

    results = record(
        context, states, made, measured, warned=journal.warnings, times=times, command=command
    )
    folder.require()
    journal.say("writing the report")
    write.everything(results, folder.path)
    folder.write_sums()
    return results


@opening.checked
def follow(loaded: LoadedRecipe, *, fresh: bool = False) -> None:
    """Take part in the trainings of a run that another process leads, and write nothing.

    Args:
        loaded: The same recipe.
        fresh: As in the leading process.

    Raises:
        SqueezeError: The leading process has stopped.
    """
    model, data, task = opening.opened(loaded, Silent())
    recipe = opening.with_input(loaded.recipe, model)
    with scratch() as place:
        folder = RunFolder.create(place, recipe.name)
        context = RunContext(recipe, loaded.folder, data, task, folder, Silent(), fresh=fresh)
        models.compress(model, context)
