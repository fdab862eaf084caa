"""``squeeze inspect sensitivity``: the accuracy that is left when one group alone is pruned."""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import flag_names, model_flags, options

if TYPE_CHECKING:
    from squeeze.core.types import Progress
    from squeeze.models.types import Model
    from squeeze.pruning.groups import PruningGroups
    from squeeze.pruning.sensitivity import Curve
    from squeeze.recipe.loaded import LoadedRecipe


def sensitivity(
    flags: model_flags.ModelFlags,
    data: Annotated[
        str, typer.Option(help=f"Images to measure on: {options.HELP_DATA}", show_default=False)
    ],
    samples: options.Samples = 512,
    importance: options.Importance = "l2",
    keep: options.Keep = None,
    plot: Annotated[Path | None, typer.Option(help="Also draw the curves into this PNG.")] = None,
    quiet: options.Quiet = False,
    json: options.AsJson = False,
    allow_code: options.AllowCode = None,
    debug: options.Debug = False,
) -> None:
    """Measure the accuracy with each group pruned alone.

    Every group of channels is pruned at several ratios while the rest of the model stays whole.
    """
    del debug, allow_code
    from squeeze.cli import console
    from squeeze.core.types import Silent

    terminal: Progress = Silent() if quiet else console.Terminal()
    with flag_names.speaking(model_flags.FLAGS):
        loaded = model_flags.load(flags, {"validation": data})
        _refuse_untrained(loaded)
        from squeeze.pruning.graph import find_groups

        model = model_flags.build(loaded, terminal)
        found = find_groups(model, keep=keep or [])
    metric, curves = _curves(model, found, loaded, (importance, samples), terminal)
    if plot is not None:
        _draw(curves, plot)
    if json:
        shown = [{"group": c.group, "channels": c.channels, "points": c.points} for c in curves]
        console.out(json_format.dumps({"metric": metric, "sensitivity": shown}, indent=1))
        return
    ratios = sorted({ratio for curve in curves for ratio, _ in curve.points})
    rows = [
        [curve.group, str(curve.channels)]
        + [f"{dict(curve.points)[r]:.1%}" if r in dict(curve.points) else "" for r in ratios]
        for curve in curves
    ]
    console.table(["Group", "Channels", *(f"-{ratio:.3g}" for ratio in ratios)], rows)
    console.out(f"{metric} in torch with this fraction of the group removed, without fine-tuning")


def _refuse_untrained(loaded: "LoadedRecipe") -> None:
    from squeeze.core.errors import InputError
    from squeeze.recipe import untrained

    what = untrained.reason(loaded.recipe.model, loaded.folder)
    if what is not None:
        raise InputError(what + untrained.cure(trains=False), where="MODEL")


def _curves(
    model: "Model",
    found: "PruningGroups",
    loaded: "LoadedRecipe",
    how: tuple[str, int],
    progress: "Progress",
) -> "tuple[str, list[Curve]]":
    """Return the metric's name and the curve of every group that can be pruned."""
    from squeeze.core.errors import SqueezeError
    from squeeze.data.sets import Opening, open_data
    from squeeze.pruning import sensitivity, step
    from squeeze.recipe.schema import PruneStep
    from squeeze.tasks import open_task

    importance, samples = how
    opening = Opening(loaded.folder, model.input, 0, progress, classes=model.architecture.classes)
    opened = open_data(loaded.recipe.data, opening, trains=False, calibrates=False)
    kind = "detection" if opened.validation.has_boxes else "classification"
    task = open_task(kind, model.input)
    with flag_names.speaking(model_flags.FLAGS):
        task.check_model(found.module, model.input, len(opened.classes))
    context = step.PruneContext(0, opened.validation, task.of(found.module), progress)
    wanted = PruneStep(pruning_ratio=0.5, importance=importance, samples=samples)
    scored = step.scores(found, wanted, context)
    if not any(score is not None for score in scored.values()):
        raise SqueezeError(
            f"no group can be pruned and scored by {importance}",
            where=str(loaded.recipe.model.build or loaded.recipe.model.weights),
            hint="'squeeze inspect pruning' shows why",
        )
    split = opened.validation.take(sensitivity.draw(opened.validation, samples, 0))
    return task.METRIC, sensitivity.curves(found, scored, split, task, progress)


def _draw(curves: "list[Curve]", plot: Path) -> None:
    from squeeze.report import plots
    from squeeze.store import new_file

    with new_file(plot) as inside:
        plots.sensitivity([(curve.group, curve.points) for curve in curves], inside)
