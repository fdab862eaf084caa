"""Build a model from a recipe's model block, load its weights, and refuse what cannot work."""

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from squeeze.core import model_names, permission
from squeeze.core.errors import InputError, unknown_name
from squeeze.core.text import are_numbers
from squeeze.models import darknet, pretrained_input, reference, usable
from squeeze.models.copying import copied
from squeeze.models.weights import load_backbone_, load_weights_, read_weights, refuse_nan
from squeeze.recipe.schema import Block, InputSpec, ModelBlock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

_FETCHED_BY_TORCHVISION = ("weights", "weights_backbone", "pretrained", "pretrained_backbone")
_FETCHED_BY_TIMM = (
    "model_name",
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "checkpoint_path",
    "cache_dir",
)


class PruningRound(Block):
    """One removal of channels, for the record.

    Attributes:
        importance: The criterion.
        removed: Layer to the indices, at that time, of the output channels that went.
    """

    importance: str
    removed: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build a model again, besides its tensors: no code, no pickle.

    Attributes:
        build: The factory's reference.
        folder: Where a relative ``./file.py`` in ``build`` starts.
        args: The factory's keyword arguments.
        input: What the model is fed.
        adapters: What rewrote the factory's module before it was pruned, in order.
        pruning: Every removal of channels since the factory, in order.
        classes: What the outputs are, in order; empty where nothing names them.
    """

    build: str
    folder: Path
    args: dict[str, Any]
    input: InputSpec
    adapters: tuple[str, ...] = ()
    pruning: tuple[PruningRound, ...] = ()
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    """A torch module together with how to build it again.

    Attributes:
        notes: What its library told of its input.
    """

    module: "nn.Module"
    architecture: Architecture
    notes: tuple[str, ...] = ()

    @property
    def input(self) -> InputSpec:
        """What the model is fed."""
        return self.architecture.input

    def fed(self, spec: InputSpec) -> "Model":
        """Return the same model with another input."""
        return replace(self, architecture=replace(self.architecture, input=spec))

    def copy(self) -> "Model":
        """Return a model whose module can be changed without changing this one's."""
        return replace(self, module=copied(self.module))

    def knowing(self, classes: "Sequence[str]") -> "Model":
        """Return the model with the names of its outputs; numbers name nothing."""
        named = () if are_numbers(classes) else tuple(classes)
        return replace(self, architecture=replace(self.architecture, classes=named))

    def pruned(
        self, module: "nn.Module", done: PruningRound, adapters: "tuple[str, ...]" = ()
    ) -> "Model":
        """Return the model after a further round of pruning.

        Args:
            module: The pruned module.
            done: The round.
            adapters: What rewrote the module before it, besides earlier rounds' adapters.
        """
        before = self.architecture
        return Model(
            module,
            replace(
                before,
                adapters=(*before.adapters, *adapters),
                pruning=(*before.pruning, done),
            ),
        )


def build(block: ModelBlock, folder: Path, *, default_input: InputSpec | None = None) -> Model:
    """Build a model and load its weights.

    Args:
        block: The recipe's model block. What its input leaves out is the library's or the bundle's.
        folder: Where relative paths start.
        default_input: Used when the block has none (a teacher sees what the student sees).

    Raises:
        InputError: Unknown factory, not an ``nn.Module``, weights that do not fit or hold NaN.
    """
    path = reference.weights_path(block.stored_weights, folder)
    if path is not None and reference.is_transformers_folder(path):
        model = _saved_by_transformers(block, path, block.input or default_input)
    elif path is not None and path.is_dir():
        model = _of_bundle(block, path, folder)
        if block.input is not None:
            model = model.fed(_over(block.input, model.input, str(path)))
    else:
        if block.build is None:
            raise InputError("needs 'build' and 'input'", where="model")
        spec, note = block.input or default_input, ""
        if block.input is not None or default_input is None:
            spec, note = pretrained_input.complete(block.input, block.build, block.args, path)
        if spec is None:
            raise pretrained_input.needed(block.build)
        module = make(block.build, block.args, folder)
        backbone = reference.weights_path(block.backbone_weights, folder)
        if backbone is not None:
            load_backbone_(module, read_weights(backbone), where=str(backbone))
        if path is not None and path.suffix == darknet.SUFFIX:
            darknet.load_darknet_(module, path)
        elif path is not None:
            load_weights_(module, read_weights(path), where=str(path))
        told = (f"model.input of {block.build}: {note}",) if note else ()
        model = Model(module, Architecture(block.build, folder, dict(block.args), spec), told)
    refuse_nan(model.module, str(path or block.build))
    return model


def _over(given: InputSpec, own: InputSpec, where: str) -> InputSpec:
    """Return a bundle's input with what is given in its place."""
    values = {key: getattr(given, key) for key in given.model_fields_set}
    try:
        return InputSpec.model_validate(own.model_dump() | values)
    except ValidationError as error:
        raise InputError(f"input: {error.errors()[0]['msg']}", where=where) from error


def make(build: str, args: "Mapping[str, Any]", folder: Path) -> "nn.Module":
    """Call a model factory, whose tensors can be trained whatever mode the caller is in.

    Raises:
        InputError: The factory does not exist, fails, or returns something else than a module
            that can be changed.
    """
    import torch

    with torch.inference_mode(mode=False):
        return _made(build, args, folder)


def _made(build: str, args: "Mapping[str, Any]", folder: Path) -> "nn.Module":
    head, _, name = build.rpartition(":")
    if not head or not name:
        raise InputError(model_names.malformed(build), where="model.build")
    if head == "torchvision":
        module = _torchvision(name, args)
    elif head == "timm":
        module = _timm(name, args)
    elif head == "transformers":
        module = _call(_transformers(build).build, {"name": name, "args": args}, build)
    else:
        if head == "builtin":
            if name not in model_names.BUILTIN:
                raise InputError(
                    unknown_name("builtin model", name, model_names.BUILTIN), where=build
                )
            build = f"{model_names.BUILTIN[name]}:{name}"
        factory = reference.function(build, folder)
        module = _call(factory, args, build) if head == "builtin" else _users(factory, args, build)
    return usable.checked(module, build)


def _of_bundle(block: ModelBlock, path: Path, folder: Path) -> Model:
    """Load a bundle; a factory that the block names may be called, if it is the bundle's own."""
    from squeeze.models import bundle

    if block.build is None:
        return bundle.load(path)
    named, recorded = permission.resolved(block.build, folder), bundle.read(path).build
    other = permission.mismatch(named, recorded, path)
    if other is not None:
        raise InputError(f"found {block.build}, and {other}", where="model.build")
    if permission.is_missing(recorded, path):
        return bundle.load(path, build=named)
    with permission.allowing([named], folder):
        return bundle.load(path)


def _users(factory: Any, args: "Mapping[str, Any]", where: str) -> Any:  # noqa: ANN401
    """Call a factory of the user's."""
    try:
        return factory(**args)
    except (Exception, SystemExit) as error:
        raise reference.failure(error, "building the model failed", where=where) from error


def _call(factory: Any, args: "Mapping[str, Any]", where: str) -> Any:  # noqa: ANN401
    try:
        return factory(**args)
    except Exception as error:
        raise InputError(
            f"building the model failed: {type(error).__name__}: {error}",
            where=where,
            hint="check model.args",
        ) from error


def _refuse_files(args: "Mapping[str, Any]", names: tuple[str, ...], where: str) -> None:
    """Refuse arguments by which a library would fetch weights, or take another model.

    Raises:
        InputError: With the first of them.
    """
    for name in names:
        if args.get(name):
            raise InputError(
                f"args.{name} would read or download files",
                where=where,
                hint="squeeze takes weights from a file: 'weights', or 'backbone_weights'",
            )


def _torchvision(name: str, args: "Mapping[str, Any]") -> Any:  # noqa: ANN401
    from torchvision import models

    known = models.list_models()
    if name not in known:
        raise InputError(
            unknown_name("torchvision model", name, known), where=f"torchvision:{name}"
        )
    _refuse_files(args, _FETCHED_BY_TORCHVISION, f"torchvision:{name}")
    if name in models.list_models(module=models.detection):
        from squeeze.models.detectors.torchvision import build

        return _call(build, {"name": name, "args": args}, f"torchvision:{name}")
    plain = (
        {"weights": None}
        | ({"init_weights": True} if name in {"googlenet", "inception_v3"} else {})
        | dict(args)
    )
    return _call(models.get_model_builder(name), plain, f"torchvision:{name}")


def _timm(name: str, args: "Mapping[str, Any]") -> Any:  # noqa: ANN401
    try:
        import timm
    except ImportError as error:
        raise InputError(
            "timm is not installed", where=f"timm:{name}", hint="pip install 'squeeze[timm]'"
        ) from error
    pretrained_input.refuse_unknown_timm(name)
    _refuse_files(args, _FETCHED_BY_TIMM, f"timm:{name}")
    return _call(timm.create_model, {"model_name": name} | dict(args), f"timm:{name}")


def _transformers(where: str) -> Any:  # noqa: ANN401
    if find_spec("transformers") is None:
        raise InputError(
            "transformers is not installed", where=where, hint="pip install 'squeeze[transformers]'"
        )
    from squeeze.models.detectors import transformers

    return transformers


def _saved_by_transformers(block: ModelBlock, path: Path, spec: InputSpec | None) -> Model:
    """Load a folder of transformers; the record holds its configuration and needs no folder."""
    where, note = str(path), ""
    if block.build is not None or spec is None:
        raise InputError(
            "tells what to build itself: it needs 'input', and no 'build'", where=where
        )
    if block.input is not None:
        spec, note = pretrained_input.complete_saved(block.input, path)
    loaded = _call(_transformers(where).load, {"folder": path, "args": block.args}, where)
    module, name, args = loaded
    told = (f"model.input of {where}: {note}",) if note else ()
    return Model(module, Architecture(f"transformers:{name}", path.parent, args, spec), told)
