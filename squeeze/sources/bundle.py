"""A compressed model on disk: ``architecture.json`` and ``weights.safetensors``.

Loading builds the model by its factory, repeats the recorded channel removals and loads the
tensors. Nothing is unpickled and no code is read from the bundle: a factory in ``./file.py`` stays
where it is and the bundle remembers the path relative to itself.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError

from squeeze._version import __version__
from squeeze.core.errors import InputError
from squeeze.recipe.schema import Block, InputSpec
from squeeze.sources import models
from squeeze.sources.weights import load_weights_, read_weights
from squeeze.store import new_folder

if TYPE_CHECKING:
    from torch import nn

ARCHITECTURE = "architecture.json"
WEIGHTS = "weights.safetensors"


class ArchitectureFile(Block):
    """The schema of ``architecture.json``, version 1."""

    version: Literal[1] = 1
    squeeze: str
    build: str
    args: dict[str, Any]
    input: InputSpec
    pruning: Annotated[list[models.PruningEvent], Field(default_factory=list)]


def save(model: models.Model, folder: Path) -> Path:
    """Write a bundle; the folder appears whole or not at all.

    Raises:
        InputError: The folder exists already or cannot be written.
    """
    from safetensors.torch import save as to_bytes

    architecture = model.architecture
    with new_folder(folder) as inside:
        build = _relative(architecture.build, architecture.folder, folder)
        record = ArchitectureFile(
            squeeze=__version__,
            build=build,
            args=architecture.args,
            input=architecture.input,
            pruning=architecture.pruning,
        )
        text = json.dumps(record.model_dump(mode="json"))
        (inside / ARCHITECTURE).write_text(text, encoding="utf-8")
        tensors = {
            name: tensor.detach().cpu().contiguous().clone()
            for name, tensor in model.module.state_dict().items()
        }
        # its own save_file hides a full disk behind an error of its own
        (inside / WEIGHTS).write_bytes(to_bytes(tensors))
    return folder


def load(folder: Path, *, build: str | None = None) -> models.Model:
    """Load a bundle with its record.

    Args:
        folder: The bundle.
        build: Use this factory instead of the recorded one (after its file has moved).

    Raises:
        InputError: Not a bundle, factory not found, or tensors that do not fit.
    """
    folder = Path(folder)
    try:
        record = ArchitectureFile.model_validate_json((folder / ARCHITECTURE).read_bytes())
    except FileNotFoundError:
        raise InputError(f"is no bundle: {ARCHITECTURE} is missing", where=str(folder)) from None
    except ValidationError as error:
        raise InputError(
            f"{ARCHITECTURE} is damaged: {error.errors()[0]['msg']}", where=str(folder)
        ) from error
    if not (folder / WEIGHTS).is_file():
        raise InputError(f"is no bundle: {WEIGHTS} is missing", where=str(folder))
    start = Path.cwd() if build else folder
    module = _factory(build or record.build, record.args, start)
    replay_(module, record.pruning, record.input)
    load_weights_(module, read_weights(folder / WEIGHTS), where=str(folder))
    architecture = models.Architecture(
        build or record.build, start.resolve(), record.args, record.input, record.pruning
    )
    return models.Model(module.eval(), architecture)


def load_bundle(path: str | Path, *, build: str | None = None) -> "nn.Module":
    """Load a bundle as a plain ``torch.nn.Module`` in eval mode, ready to run or to train.

    Args:
        path: The bundle's folder.
        build: Overrides the recorded factory, for example ``./my_model.py:make``.

    Returns:
        The model: ``(N, C, H, W)`` images to ``(N, classes)`` logits.

    Raises:
        InputError: See ``load``.
    """
    return load(Path(path), build=build).module


def save_bundle(module: "nn.Module", path: str | Path, *, like: str | Path) -> Path:
    """Save a module that was loaded from a bundle and trained since.

    Args:
        module: What ``load_bundle(like)`` returned.
        path: The new bundle's folder.
        like: The bundle whose record it keeps.

    Raises:
        InputError: ``path`` exists, or the module's tensors are not those of ``like``.
    """
    model = load(Path(like))
    load_weights_(model.module, module.state_dict(), where=str(path))
    return save(model, Path(path))


def replay_(module: "nn.Module", events: list[models.PruningEvent], spec: InputSpec) -> None:
    """Repeat recorded channel removals on a freshly built module, in place."""
    if not events:
        return
    import torch
    import torch_pruning

    with torch.enable_grad():  # Torch-Pruning traces through autograd
        graph = torch_pruning.DependencyGraph().build_dependency(
            module, example_inputs=torch.zeros(2, *spec.shape)
        )
        graph.load_pruning_history([list(event) for event in events])
    module.zero_grad(set_to_none=True)


def _factory(build: str, args: dict[str, Any], folder: Path) -> "nn.Module":
    head = build.rpartition(":")[0]
    if head.endswith(".py") and not (folder / head).is_file():
        raise InputError(
            f"the model's factory {build} is not where it was when this bundle was saved",
            where=str(folder),
            hint="pass its new place: load_bundle(path, build='./file.py:function')",
        )
    return models.make(build, args, folder)


def _relative(build: str, start: Path, folder: Path) -> str:
    head, _, name = build.rpartition(":")
    if not head.endswith(".py"):
        return build
    return f"{os.path.relpath((start / head).resolve(), folder.resolve())}:{name}"
