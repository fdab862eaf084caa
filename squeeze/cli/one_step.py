"""``prune``, ``quantize`` and ``distill``: flags that build a recipe of one step, and run it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from squeeze.cli import flag_names, options
from squeeze.core import reading

_DEFAULT_SHAPE = "3,224,224"
_HELP_MODEL = (
    "torchvision:NAME, timm:NAME, builtin:NAME, transformers:NAME, package.module:function, "
    "./file.py:function, or a bundle folder."
)


@dataclass(frozen=True)
class Flags:
    """What the three verbs share."""

    recipe: dict[str, Any]
    overrides: tuple[str, ...]
    output: Path
    save_recipe: Path | None
    args: tuple[str, ...] = ()
    show: dict[str, bool] = field(default_factory=dict)
    devices: int = 1


def common(
    model: Annotated[str, typer.Argument(help=_HELP_MODEL)],
    validation: Annotated[
        str,
        typer.Option(
            help="Validation data: an image folder, builtin:digits, idx:FOLDER, "
            "torchvision:NAME:FOLDER or ./file.py:function."
        ),
    ],
    train: Annotated[str | None, typer.Option(help="Training data, named the same way.")] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help=".safetensors, weights-only .pt/.pth, package:NAME/FILE, or random: what the "
            "factory draws."
        ),
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Argument of the model factory; may be repeated."),
    ] = None,
    input: options.Shape = None,
    mean: options.Numbers = None,
    std: options.Numbers = None,
    crop_fraction: options.CropFraction = None,
    fit: options.Fit = None,
    interpolation: options.Interpolation = None,
    channel_order: options.ChannelOrder = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="Runtime to measure on; may be repeated. Default: onnxruntime."),
    ] = None,
    threads: options.Threads = 1,
    max_drop: Annotated[
        float | None,
        typer.Option(help="Gate: largest allowed drop of top-1, absolute (0.01 is one point)."),
    ] = None,
    min_speedup: Annotated[
        float | None, typer.Option(help="Gate: smallest allowed speed-up over the baseline.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The recipe's name.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    output: options.Output = Path("runs"),
    set: options.Overrides = None,
    save_recipe: Annotated[
        Path | None, typer.Option(help="Write the recipe to this file as well.")
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
    data: dict[str, Any] = {"validation": validation}
    if train is not None:
        data["train"] = train
    gates: list[dict[str, Any]] = []
    if max_drop is not None:
        gates.append({"metric": "top1", "max_drop": max_drop})
    if min_speedup is not None:
        gates.append({"metric": "latency", "min_speedup": min_speedup})
    recipe = {
        "version": 1,
        "name": name,
        "seed": seed,
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
        {"fresh": fresh, "remeasure": remeasure, "quiet": quiet, "json": json, "debug": debug},
        devices,
    )


def model_block(
    model: str, weights: str | None, shape: str | None, others: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the model block that flags stand for.

    Args:
        model: A reference or a bundle folder.
        weights: A file, for references.
        shape: ``C,H,W``; None takes the bundle's or the library's own, else 3,224,224.
        others: Further values of the input, ``mean`` and ``std`` as texts; None takes the bundle's
            or the library's own.
    """
    is_bundle = reading.is_folder(Path(model))
    block: dict[str, Any] = {"weights": model} if is_bundle else {"build": model}
    if weights is not None:
        block["weights"] = weights
    given = {
        key: numbers(value, f"--{key}") if key in {"mean", "std"} else value
        for key, value in others.items()
        if value is not None
    }
    if shape is not None:
        given["shape"] = numbers(shape, "--input")
    elif given or not (is_bundle or _in_library(model)):
        given["shape"] = _own_shape(model, weights, is_bundle=is_bundle)
    if given:
        block["input"] = given
    return block


def _in_library(model: str) -> bool:
    from squeeze.recipe.schema import LIBRARIES

    return model.startswith(LIBRARIES)


def _own_shape(model: str, weights: str | None, *, is_bundle: bool) -> list[float]:
    """Return the shape that goes with other flags."""
    if is_bundle:
        from squeeze.cli.file import open_file

        return list(open_file(Path(model)).spec.shape)
    if _in_library(model):
        from squeeze.models import pretrained_input

        place = None if weights is None else Path(weights)
        spec, _ = pretrained_input.complete(None, model, {}, place)
        if spec is not None:
            return list(spec.shape)
    return numbers(_DEFAULT_SHAPE, "--input")


@flag_names.of_one_step
def run(flags: Flags, step: dict[str, Any], calibration: Any = None) -> None:  # noqa: ANN401
    """Complete the recipe with its step, save it where asked, and run it."""
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


def pair(text: str) -> str:
    """Return a ``KEY=VALUE`` text as it is, or raise ``InputError``."""
    from squeeze.core.errors import InputError

    key, equals, _ = text.partition("=")
    if not equals or not key:
        raise InputError(f"found '{text}', expected KEY=VALUE", where="--arg")
    return text


def numbers(text: str, flag: str) -> list[float]:
    """Read ``1,2,3``.

    Raises:
        InputError: Something in it is no number.
    """
    from squeeze.core.errors import InputError

    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"found '{text}', expected numbers with commas between", where=flag
        ) from None
    return [int(value) if value.is_integer() and flag == "--input" else value for value in values]
