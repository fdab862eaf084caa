"""``squeeze inspect sensitivity``: the accuracy that is left when one group alone is pruned."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import data_flags, flag_names, model_flags, options
from squeeze.cli.flag_groups import Switches
from squeeze.core.types import Silent

if TYPE_CHECKING:
    from squeeze.api.sensitivity import GroupSensitivities
    from squeeze.core.types import Progress
    from squeeze.pruning.sensitivity import Curve
    from squeeze.recipe.loaded import LoadedRecipe


@dataclass(frozen=True, kw_only=True)
class MeasuredImages:
    """What accuracy is measured on."""

    data: Annotated[
        str, typer.Option(help=f"Images to measure on: {options.HELP_DATA}", show_default=False)
    ]
    samples: options.Samples = 512
    task: data_flags.Task = None
    read: data_flags.DataFlags


def sensitivity(
    model: model_flags.ModelFlags,
    *,
    images: MeasuredImages,
    importance: options.Importance = "l2",
    keep: options.Keep = None,
    plot: Annotated[Path | None, typer.Option(help="Also draw the curves into this PNG.")] = None,
    switches: Switches,
) -> None:
    """Measure the accuracy with each group pruned alone.

    Every group of channels is pruned at several ratios while the rest of the model stays whole.
    """
    from squeeze.cli import console

    data_flags.check_task(images.task)
    terminal: Progress = Silent() if switches.quiet else console.Terminal()
    with flag_names.naming_flags(model_flags.FLAGS):
        result = _measured(model, images, importance, keep or [], terminal)
    if plot is not None:
        _draw(result.curves, plot)
    if switches.json:
        console.out(json.dumps(result.to_dict(), indent=1))
        return
    _print(result)


def _measured(
    flags: model_flags.ModelFlags,
    images: MeasuredImages,
    importance: str,
    keep: list[str],
    progress: "Progress",
) -> "GroupSensitivities":
    source = images.read.checked(images.data, "--data")
    loaded = model_flags.load(flags, {"validation": source.model_dump(exclude_unset=True)})
    _refuse_untrained(loaded)
    from squeeze.api.data import given_data
    from squeeze.api.sensitivity import SensitivityRequest, group_sensitivities
    from squeeze.pruning.graph import find_groups

    model = model_flags.build(loaded, progress)
    groups = find_groups(model, keep=keep)
    data = given_data(loaded.recipe.data.validation, "validation")
    request = SensitivityRequest(importance, images.samples, images.task)
    return group_sensitivities(model, groups, data, request, progress)


def _refuse_untrained(loaded: "LoadedRecipe") -> None:
    from squeeze.core.errors import InputError
    from squeeze.recipe import untrained

    what = untrained.reason(loaded.recipe.model, loaded.folder)
    if what is not None:
        raise InputError(what + untrained.cure(trains=False), where="MODEL")


def _print(result: "GroupSensitivities") -> None:
    from squeeze.cli import console

    ratios = sorted({ratio for curve in result.curves for ratio, _ in curve.points})
    rows = [
        [curve.group, str(curve.channels)]
        + [f"{dict(curve.points)[r]:.1%}" if r in dict(curve.points) else "" for r in ratios]
        for curve in result.curves
    ]
    console.table(["Group", "Channels", *(f"-{ratio:.3g}" for ratio in ratios)], rows)
    console.out(
        f"{result.metric} in torch with this fraction of the group removed, without fine-tuning"
    )


def _draw(curves: "list[Curve]", plot: Path) -> None:
    from squeeze.report import plots
    from squeeze.store import new_file

    with new_file(plot) as inside:
        plots.sensitivity([(curve.group, curve.points) for curve in curves], inside)
