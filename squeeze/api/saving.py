"""Save a model that was made in memory as a bundle, which records how to build it again."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.api.inputs import outputs
from squeeze.core import permission
from squeeze.core.errors import InputError, SqueezeError
from squeeze.models import bundle

if TYPE_CHECKING:
    from squeeze.models.types import Model

_SAME = 1e-4


def save(
    model: "Model", folder: str | Path, build: str | None, args: Mapping[str, object] | None
) -> Path:
    """Write a bundle and make sure that it loads as the same model.

    Args:
        model: The model; it may have been trained since it was made.
        folder: The new bundle.
        build: The factory of the unpruned module; may be left out where the model came from a
            bundle, which has it.
        args: The factory's keyword arguments.

    Returns:
        The folder.

    Raises:
        InputError: No factory is known, the folder exists, or the factory makes another model.
    """
    named, folder = _named(model, build, args), Path(folder)
    architecture = named.architecture
    with permission.allowing([architecture.build], architecture.folder):
        bundle.save(named, folder)
        try:
            same = _computes_the_same(named, bundle.load(folder))
        except SqueezeError:
            shutil.rmtree(folder)
            raise
    if not same:
        shutil.rmtree(folder)
        raise InputError(
            f"{architecture.build} does not make this model: loaded again, it computes something "
            "else",
            where="save",
            hint="name the factory and arguments that the module was made with",
        )
    return folder


def _named(model: "Model", build: str | None, args: Mapping[str, object] | None) -> "Model":
    """Return the model with its factory.

    Raises:
        InputError: None is known.
    """
    architecture = model.architecture
    if build is not None:
        architecture = replace(architecture, build=build, folder=Path.cwd(), args=dict(args or {}))
    if not architecture.build:
        raise InputError(
            "came as a module, and a bundle records how to build the module again",
            where="save",
            hint="name its factory: save(folder, build='torchvision:resnet18', args={…}) or "
            "build='package.module:function'",
        )
    return replace(model, architecture=architecture)


def _computes_the_same(model: "Model", loaded: "Model") -> bool:
    import torch

    was_training = model.module.training
    pairs = zip(outputs(replace(model, module=model.module.eval())), outputs(loaded), strict=True)
    same = all(torch.allclose(a, b, rtol=_SAME, atol=_SAME) for a, b in pairs)
    model.module.train(was_training)
    return same
