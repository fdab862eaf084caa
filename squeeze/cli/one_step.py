"""``prune``, ``quantize`` and ``distill``: flags that build a recipe of one step, and run it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from squeeze.cli import completion, data_flags, flag_names, options
from squeeze.cli.model_block import model_block
from squeeze.cli.values import pair
from squeeze.core import plugins, tasks


@dataclass(frozen=True)
class Flags:
    """What the three verbs share."""

    recipe: dict[str, Any]
    overrides: tuple[str, ...]
    output: Path
    save_recipe: Path | None
    args: tuple[str, ...] = ()
    read: data_flags.DataFlags = data_flags.NONE
    show: dict[str, bool] = field(default_factory=dict)
    devices: int = 1


def common(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=options.HELP_MODEL)],
    validation: Annotated[
        str,
        typer.Option(metavar="DATA", help=f"Validation data: {options.HELP_DATA}"),
    ],
    train: Annotated[
        str | None, typer.Option(metavar="DATA", help="Training data, named the same way.")
    ] = None,
    task: Annotated[
        str,
        typer.Option(
            metavar="TASK",
            help="classification or detection.",
            autocompletion=completion.of(("classification", "detection")),
        ),
    ] = "classification",
    classes: data_flags.Classes = None,
    on_bad_boxes: data_flags.OnBadBoxes = None,
    on_corrupt: data_flags.OnCorrupt = None,
    image_set: data_flags.ImageSets = None,
    weights: options.Weights = None,
    arg: options.FactoryArguments = None,
    input: options.Shape = None,
    mean: options.Mean = None,
    std: options.Std = None,
    crop_fraction: options.CropFraction = None,
    fit: options.Fit = None,
    interpolation: options.Interpolation = None,
    channel_order: options.ChannelOrder = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUNTIME",
            help="Runtime to measure on; may be repeated. Default: onnxruntime.",
            autocompletion=completion.of_group(plugins.RUNTIMES),
        ),
    ] = None,
    threads: options.Threads = 1,
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="Gate: largest allowed drop of top-1, or of mAP in detection; 0.01 is one point."
        ),
    ] = None,
    min_speedup: Annotated[
        float | None, typer.Option(help="Gate: smallest speed-up over the baseline.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the recipe and of the folder of its runs.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.", min=0)] = 0,
    output: options.Output = Path("runs"),
    set: options.Overrides = None,
    save_recipe: Annotated[
        Path | None, typer.Option(help="Also write the recipe to this file.")
    ] = None,
    devices: options.Devices = 1,
    fresh: options.Fresh = False,
    remeasure: options.Remeasure = False,
    allow_code: options.AllowCode = None,
    quiet: options.Quiet = False,
    json: options.AsJson = False,
    debug: options.Debug = False,
) -> Flags:
    """Turn the shared flags into the shared part of a recipe."""
    del allow_code
    prepared = {
        "mean": mean,
        "std": std,
        "crop_fraction": crop_fraction,
        "fit": fit,
        "interpolation": interpolation,
        "channel_order": channel_order,
    }
    block = model_block(model, weights, input, prepared)
    if arg:
        block["args"] = {}
    read = data_flags.gathered(classes, on_bad_boxes, on_corrupt, image_set)
    data: dict[str, Any] = {"validation": read.source(validation, "validation")}
    if train is not None:
        data["train"] = read.source(train, "train")
    gates: list[dict[str, Any]] = []
    if max_drop is not None and task in plugins.names(plugins.TASKS):  # or that is the mistake
        gates.append({"metric": tasks.spec_of(task).main.name, "max_drop": max_drop})
    if min_speedup is not None:
        gates.append({"metric": "latency", "min_speedup": min_speedup})
    recipe = {
        "version": 1,
        "name": name,
        "seed": seed,
        **({"task": task} if task != "classification" else {}),
        "model": block,
        "data": data,
        "steps": [],
        "targets": [{"runtime": t, "threads": threads} for t in target or ["onnxruntime"]],
        "gates": gates,
    }
    return Flags(
        recipe,
        tuple(set or ()),
        output,
        save_recipe,
        tuple(pair(item) for item in arg or ()),
        read,
        {"fresh": fresh, "remeasure": remeasure, "quiet": quiet, "json": json, "debug": debug},
        devices,
    )


def run(flags: Flags, step: dict[str, Any], calibration: Any = None) -> None:  # noqa: ANN401
    """Complete the recipe with its step, save it where asked, and run it.

    Raises:
        InputError: Something is wrong with the flags, which are named.
    """
    with flag_names.speaking(flag_names.names(flags.recipe, step)):
        _run(flags, step, calibration)


def _run(flags: Flags, step: dict[str, Any], calibration: Any) -> None:  # noqa: ANN401
    from squeeze.cli import devices as processes
    from squeeze.cli.run import start
    from squeeze.recipe import plan
    from squeeze.recipe.load import from_data

    recipe = flags.recipe
    model = str(recipe["model"].get("build") or recipe["model"]["weights"])
    stem = "".join(c if c.isalnum() else "_" for c in model.rpartition(":")[2].rpartition("/")[2])
    recipe["name"] = recipe["name"] or f"{stem.strip('_') or 'model'}_{step['method']}"
    recipe["steps"] = [{key: value for key, value in step.items() if value is not None}]
    if calibration is not None:
        recipe["data"]["calibration"] = calibration
    overrides = tuple(f"model.args.{pair}" for pair in flags.args) + flags.overrides
    loaded = from_data(recipe, Path.cwd(), overrides)
    if flags.save_recipe is not None and processes.leads():
        plan.check(loaded)
        save(recipe, flags.save_recipe)
    start(loaded, flags.output, flags.show, flags.devices)


def save(recipe: dict[str, Any], path: Path) -> None:
    """Write a recipe; its relative paths are made to start at the file's folder."""
    from squeeze.recipe import paths
    from squeeze.recipe.document import dump
    from squeeze.recipe.load import from_data
    from squeeze.store import write_text

    given = from_data(recipe, Path.cwd())
    moved = paths.moved(given.recipe, given.folder, path.parent)
    write_text(path, dump(paths.plain(moved)))
