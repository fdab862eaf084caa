"""The flags that name a model, and the model that they stand for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import flag_names, options
from squeeze.cli.flag_groups import InputFlags
from squeeze.cli.values import numbers, pair
from squeeze.core import reading, specs

if TYPE_CHECKING:
    from squeeze.core.types import Progress
    from squeeze.models.types import Model
    from squeeze.recipe.loaded import LoadedRecipe

FLAGS = flag_names.SHARED | {
    "data": "--data",
    "data.validation": "--data",
    "model.weights": "--weights",
    "keep": "--keep",
}
"""Places in the recipe that the flags stand for."""

_DEFAULT_SHAPE = "3,224,224"


@dataclass(frozen=True, kw_only=True)
class ModelFlags:
    """What was given on the command line about a model."""

    model: Annotated[str, typer.Argument(metavar="MODEL", help=options.HELP_MODEL)]
    weights: options.Weights = None
    arg: options.FactoryArguments = None
    fed: InputFlags

    @property
    def arguments(self) -> tuple[str, ...]:
        """The ``KEY=VALUE`` arguments of the model factory.

        Raises:
            InputError: One of them is not of this form.
        """
        return tuple(pair(item) for item in self.arg or ())

    def block(self) -> dict[str, object]:
        """Return the model block that the flags stand for; ``arguments`` override its ``args``.

        Raises:
            InputError: A flag of the input holds no numbers, or the bundle is damaged.
        """
        block = model_block(self.model, self.weights, self.fed.given())
        return block | {"args": {}} if self.arg else block


def model_block(model: str, weights: str | None, given: Mapping[str, object]) -> dict[str, object]:
    """Return the model block that flags stand for.

    Args:
        model: A reference or a bundle folder.
        weights: A file, for references.
        given: Keys of the input. What is left out is the bundle's or the library's own; of other
            models the shape then is 3,224,224.
    """
    is_bundle = reading.is_folder(Path(model))
    block: dict[str, object] = {"weights": model} if is_bundle else {"build": model}
    if weights is not None:
        block["weights"] = weights
    fed = dict(given)
    if "shape" not in fed and (fed or not (is_bundle or _in_library(model))):
        fed["shape"] = _own_shape(model, weights, is_bundle=is_bundle)
    if fed:
        block["input"] = fed
    return block


def _in_library(model: str) -> bool:
    from squeeze.recipe.schema import LIBRARIES

    return model.startswith(LIBRARIES)


def _own_shape(model: str, weights: str | None, *, is_bundle: bool) -> list[float]:
    """Return the shape that goes with other flags."""
    if is_bundle:
        from squeeze.cli.measured_files import opened

        return list(opened(Path(model)).spec.shape)
    if _in_library(model):
        from squeeze.models import pretrained_input

        place = None if weights is None else Path(weights)
        spec, _ = pretrained_input.complete(None, model, {}, place)
        if spec is not None:
            return list(spec.shape)
    return numbers(_DEFAULT_SHAPE, "--input")


def load(flags: ModelFlags, data: Mapping[str, object] | None = None) -> "LoadedRecipe":
    """Check the flags as the blocks of a recipe are checked.

    Args:
        flags: Of the model.
        data: A data block, for what measures; ``builtin:digits`` stands for it where nothing does.
    """
    from squeeze.recipe.load import from_data

    recipe = {
        "version": 1,
        "name": "inspect",
        "model": flags.block(),
        "data": {"validation": "builtin:digits"} if data is None else data,
        "targets": [{"runtime": specs.module_runtime()}],
    }
    return from_data(recipe, Path.cwd(), [f"model.args.{pair}" for pair in flags.arguments])


def build(loaded: "LoadedRecipe", progress: "Progress") -> "Model":
    """Build the model, and say what was taken from its library."""
    from squeeze.models import blocks

    built = blocks.build(loaded.recipe.model, loaded.folder)
    for note in built.notes:
        progress.say(note)
    return built
