"""``squeeze inspect``."""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from squeeze.cli import flag_names, one_step, options

if TYPE_CHECKING:
    from squeeze.models.factory import Model
    from squeeze.pruning.graph import PruningGroups
    from squeeze.pruning.sensitivity import Curve
    from squeeze.recipe.load import LoadedRecipe


def inspect(
    model: Annotated[
        str,
        typer.Argument(
            help="A model reference or a bundle folder; an .onnx or .tflite file for --int8 and "
            "--layers."
        ),
    ],
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="Which kernels really run the file in int8; why others do not."
        ),
    ] = False,
    layers: Annotated[
        Path | None,
        typer.Option(
            metavar="FLOAT_FILE",
            help="Compare every activation of this float file with MODEL, the file quantized from "
            "it, on images of --data.",
        ),
    ] = None,
    pruning: Annotated[
        bool, typer.Option("--pruning", help="What can be pruned, and why the rest cannot.")
    ] = False,
    sensitivity: Annotated[
        bool,
        typer.Option(
            "--sensitivity", help="Top-1 on --data with each group pruned alone at several ratios."
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(help="Images for --sensitivity and --layers, named as for squeeze prune."),
    ] = None,
    samples: Annotated[
        int, typer.Option(help="So many of them; --layers takes at most 32.", min=2)
    ] = 512,
    importance: Annotated[str, typer.Option(help="Criterion; see squeeze list importance.")] = "l2",
    keep: Annotated[
        list[str] | None, typer.Option(help="Layers never touched: a pattern or a class name.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="PNG of the curves of --sensitivity or --layers.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="As for squeeze prune.")] = None,
    arg: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Argument of the model factory.")
    ] = None,
    input: options.Shape = None,
    mean: options.Numbers = None,
    std: options.Numbers = None,
    crop_fraction: options.CropFraction = None,
    fit: options.Fit = None,
    interpolation: options.Interpolation = None,
    layout: options.Layout = None,
    channel_order: options.ChannelOrder = None,
    quiet: options.Quiet = False,
    json: options.AsJson = False,
    allow_code: options.AllowCode = None,
    debug: options.Debug = False,
) -> None:
    """Look into a model before changing it."""
    del debug, allow_code
    from squeeze.cli import console
    from squeeze.core.types import Silent

    others = {
        "crop_fraction": crop_fraction,
        "fit": fit,
        "interpolation": interpolation,
        "channel_order": channel_order,
    }
    if int8:
        from squeeze.cli import inspect_int8

        modes = {"--layers": layers, "--data": data, "--plot": plot}
        _refuse("--int8", modes | {"--pruning": pruning, "--sensitivity": sensitivity})
        inspect_int8.show(Path(model), as_json=json)
        return
    if layers is not None:
        from squeeze.cli import inspect_layers

        _refuse("--layers", {"--pruning": pruning, "--sensitivity": sensitivity})
        others["layout"] = layout
        images = inspect_layers.Images(data, samples, (input, mean, std), others, quiet=quiet)
        inspect_layers.show(layers, Path(model), images, plot, as_json=json)
        return
    _check_flags(data, plot, pruning=pruning, sensitivity=sensitivity)
    _refuse("a model", {"--layout": layout})
    block = one_step.model_block(model, weights, input, {"mean": mean, "std": std} | others)
    flags = flag_names.SHARED | {"data": "--data", "model.weights": "--weights", "keep": "--keep"}
    terminal = Silent() if quiet else console.Terminal()
    with flag_names.speaking(flags):
        loaded = _validated(block, data, arg or [])
        if sensitivity:
            _refuse_untrained(loaded)
        from squeeze.models import factory
        from squeeze.pruning.graph import find_groups

        built = factory.build(loaded.recipe.model, loaded.folder)
        for note in built.notes:
            terminal.say(note)
        found = find_groups(built, keep=keep or [])
    shown: dict[str, Any] = {}
    if pruning:
        shown["groups"] = _groups(found)
        shown["adapters"] = found.adapters
    curves: list[Curve] = []
    if sensitivity:
        curves = _curves(built, found, loaded, (importance, samples), terminal)
        shown["sensitivity"] = [
            {"group": c.group, "channels": c.channels, "points": c.points} for c in curves
        ]
    _draw(curves, plot)
    if json:
        console.out(json_format.dumps(shown, indent=1))
        return
    if pruning:
        _print_groups(found)
    if curves:
        _print_curves(curves)


def _draw(curves: "list[Curve]", plot: Path | None) -> None:
    if plot is None or not curves:
        return
    from squeeze.report import plots
    from squeeze.store import new_file

    with new_file(plot) as inside:
        plots.sensitivity([(curve.group, curve.points) for curve in curves], inside)


def _refuse(mode: str, others: dict[str, Any]) -> None:
    """Refuse flags that do nothing with another one."""
    from squeeze.core.errors import InputError

    for flag, given in others.items():
        if given:
            raise InputError(f"does nothing with {mode}", where=flag)


def _check_flags(data: str | None, plot: Path | None, *, pruning: bool, sensitivity: bool) -> None:
    from squeeze.core.errors import InputError

    if not pruning and not sensitivity:
        raise InputError(
            "say what to look at: --pruning, --sensitivity, --int8 or --layers",
            where="squeeze inspect",
        )
    if sensitivity and data is None:
        raise InputError("needs --data, what top-1 is measured on", where="--sensitivity")
    for flag, given in (("--plot", plot), ("--data", data)):
        if given is not None and not sensitivity:
            raise InputError("is for --sensitivity", where=flag)


def _validated(block: dict[str, Any], data: str | None, args: list[str]) -> "LoadedRecipe":
    """Check the flags as a recipe's blocks are checked."""
    from squeeze.recipe.load import from_data

    if args:
        block["args"] = {}
    recipe = {
        "version": 1,
        "name": "inspect",
        "model": block,
        "data": {"validation": data or "builtin:digits"},
        "targets": [{"runtime": "pytorch"}],
    }
    overrides = [f"model.args.{one_step.pair(item)}" for item in args]
    return from_data(recipe, Path.cwd(), overrides)


def _refuse_untrained(loaded: "LoadedRecipe") -> None:
    from squeeze.core.errors import InputError
    from squeeze.recipe import untrained

    what = untrained.reason(loaded.recipe.model, loaded.folder)
    if what is not None:
        raise InputError(what + untrained.cure(trains=False), where="--sensitivity")


def _curves(
    model: "Model",
    found: "PruningGroups",
    loaded: "LoadedRecipe",
    how: tuple[str, int],
    progress: Any,  # noqa: ANN401  (a terminal or nothing)
) -> "list[Curve]":
    from squeeze.core.errors import SqueezeError
    from squeeze.data.splits import Opening, open_data
    from squeeze.pruning import sensitivity, step
    from squeeze.recipe.schema import PruneStep
    from squeeze.tasks import open_task

    importance, samples = how
    opening = Opening(loaded.folder, model.input, 0, progress, classes=model.architecture.classes)
    opened = open_data(loaded.recipe.data, opening, trains=False, calibrates=False)
    kind = "detection" if opened.validation.has_boxes else "classification"
    task = open_task(kind, model.input)
    task.check_model(found.module, model.input, len(opened.classes))
    around = step.PruneContext(0, opened.validation, task.of(found.module), progress)
    wanted = PruneStep(pruning_ratio=0.5, importance=importance, samples=samples)
    scored = step.scores(found, wanted, around)
    if not any(score is not None for score in scored.values()):
        raise SqueezeError(
            f"no group can be pruned and scored by {importance}",
            where="--sensitivity",
            hint="'squeeze inspect --pruning' shows why",
        )
    split = opened.validation.take(sensitivity.draw(opened.validation, samples, 0))
    return sensitivity.curves(found, scored, split, task, progress)


def _groups(found: "PruningGroups") -> list[dict[str, Any]]:
    return [
        {
            "group": group.name,
            "channels": group.channels,
            "unit": group.unit,
            "kept": group.kept,
            "layers": [
                {
                    "layer": dependency.path,
                    "kind": dependency.kind,
                    "side": "out" if dependency.is_out else "in",
                }
                for dependency in group.dependencies
            ],
        }
        for group in found.groups
    ]


def _print_groups(found: "PruningGroups") -> None:
    from squeeze.cli import console

    rows = []
    for group in found.groups:
        made = [dependency.path for dependency in group.dependencies if dependency.is_out]
        read = [dependency.path for dependency in group.dependencies if not dependency.is_out]
        unit = {1: "one"}.get(group.unit, str(group.unit))
        rows.append(
            [
                group.name,
                str(group.channels),
                unit,
                group.kept or "yes",
                ", ".join(dict.fromkeys(made)),
                ", ".join(dict.fromkeys(read)),
            ]
        )
    columns = ["Group", "Channels", "At once", "Prunable", "Made or kept by", "Read by"]
    console.table(columns, rows)
    if found.adapters:
        console.out(f"rewritten before pruning: {', '.join(found.adapters)}")
    for path in found.unreached:
        console.out(f"never reached by the forward pass: {path}")
    channels = sum(group.channels for group in found.groups)
    prunable = sum(group.channels for group in found.prunable)
    console.out(
        f"{len(found.prunable)} of {len(found.groups)} groups can be pruned, with {prunable:,} of "
        f"{channels:,} channels"
    )


def _print_curves(curves: "list[Curve]") -> None:
    from squeeze.cli import console

    ratios = sorted({ratio for curve in curves for ratio, _ in curve.points})
    rows = [
        [curve.group, str(curve.channels)]
        + [f"{dict(curve.points)[r]:.1%}" if r in dict(curve.points) else "" for r in ratios]
        for curve in curves
    ]
    console.table(["Group", "Channels", *(f"-{ratio:.3g}" for ratio in ratios)], rows)
    console.out("top-1 in torch with that much of the group removed, nothing trained afterwards")
