"""The flags that name a model, and the model that they stand for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from squeeze.cli import flag_names, options
from squeeze.cli.values import pair

if TYPE_CHECKING:
    from squeeze.core.types import Progress
    from squeeze.models.types import Model
    from squeeze.recipe.loaded import LoadedRecipe

FLAGS = flag_names.SHARED | {"data": "--data", "model.weights": "--weights", "keep": "--keep"}
"""Places in the recipe that the flags stand for."""


@dataclass(frozen=True)
class ModelFlags:
    """What was given on the command line about a model.

    Attributes:
        model: A reference, a bundle folder or an exported file.
        weights: A file, for references.
        args: ``KEY=VALUE`` arguments of the model factory.
        shape: ``C,H,W``.
        prepared: Further values of the input; None where a flag is not given.
    """

    model: str
    weights: str | None
    args: tuple[str, ...]
    shape: str | None
    prepared: Mapping[str, Any]


def common(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=options.HELP_MODEL)],
    weights: options.Weights = None,
    arg: options.FactoryArguments = None,
    input: options.Shape = None,
    mean: options.Mean = None,
    std: options.Std = None,
    crop_fraction: options.CropFraction = None,
    fit: options.Fit = None,
    interpolation: options.Interpolation = None,
    channel_order: options.ChannelOrder = None,
) -> ModelFlags:
    """Gather the flags of a model."""
    prepared = {
        "mean": mean,
        "std": std,
        "crop_fraction": crop_fraction,
        "fit": fit,
        "interpolation": interpolation,
        "channel_order": channel_order,
    }
    return ModelFlags(model, weights, tuple(arg or ()), input, prepared)


def load(flags: ModelFlags, data: Mapping[str, Any] | None = None) -> "LoadedRecipe":
    """Check the flags as the blocks of a recipe are checked.

    Args:
        flags: Of the model.
        data: A data block, for what measures; ``builtin:digits`` stands for it where nothing does.
    """
    from squeeze.cli.model_block import model_block
    from squeeze.recipe.load import from_data

    block = model_block(flags.model, flags.weights, flags.shape, flags.prepared)
    if flags.args:
        block["args"] = {}
    recipe = {
        "version": 1,
        "name": "inspect",
        "model": block,
        "data": {"validation": "builtin:digits"} if data is None else data,
        "targets": [{"runtime": "pytorch"}],
    }
    return from_data(recipe, Path.cwd(), [f"model.args.{pair(item)}" for item in flags.args])


def build(loaded: "LoadedRecipe", progress: "Progress") -> "Model":
    """Build the model, and say what was taken from its library."""
    from squeeze.models import blocks

    built = blocks.build(loaded.recipe.model, loaded.folder)
    for note in built.notes:
        progress.say(note)
    return built
