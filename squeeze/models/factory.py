"""Call the factory that a reference names, and refuse what it must not return."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from squeeze.core import model_names
from squeeze.core.errors import InputError, unknown_name
from squeeze.models import pretrained_input, reference, usable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from torch import nn

    Arguments = Mapping[str, object]

Made = TypeVar("Made")

_FETCHED_BY_TORCHVISION = ("weights", "weights_backbone", "pretrained", "pretrained_backbone")
_FETCHED_BY_TIMM = (
    "model_name",
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "checkpoint_path",
    "cache_dir",
)


def make(build: str, args: "Arguments", folder: Path) -> "nn.Module":
    """Call a model factory, whose tensors can be trained whatever mode the caller is in.

    Raises:
        InputError: The factory does not exist, fails, or returns something else than a module
            that can be changed.
    """
    import torch

    with torch.inference_mode(mode=False):
        return _made(build, args, folder)


def _made(build: str, args: "Arguments", folder: Path) -> "nn.Module":
    head, _, name = build.rpartition(":")
    if not head or not name:
        raise InputError(model_names.malformed(build), where="model.build")
    if head == "torchvision":
        module = _torchvision(name, args)
    elif head == "timm":
        module = _timm(name, args)
    elif head == "transformers":
        make_it = transformers_detectors(build).build
        module = call_factory(make_it, {"name": name, "args": args}, build)
    else:
        if head == "builtin":
            if name not in model_names.BUILTIN:
                raise InputError(
                    unknown_name("builtin model", name, model_names.BUILTIN), where=build
                )
            build = f"{model_names.BUILTIN[name]}:{name}"
        factory = reference.function(build, folder)
        call = call_factory if head == "builtin" else _call_users
        module = call(factory, args, build)
    return usable.checked(module, build)


def _call_users(factory: "Callable[..., object]", args: "Arguments", where: str) -> object:
    """Call a factory of the user's."""
    try:
        return factory(**args)
    except (Exception, SystemExit) as error:
        raise reference.failure(error, "building the model failed", where=where) from error


def call_factory(factory: "Callable[..., Made]", args: "Arguments", where: str) -> Made:
    """Return what a library's factory makes.

    Args:
        factory: What to call.
        args: Its keyword arguments.
        where: Its reference.

    Raises:
        InputError: It fails.
    """
    try:
        return factory(**args)
    except Exception as error:
        raise InputError(
            f"building the model failed: {type(error).__name__}: {error}",
            where=where,
            hint="check model.args",
        ) from error


def _refuse_files(args: "Arguments", names: tuple[str, ...], where: str) -> None:
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


def _torchvision(name: str, args: "Arguments") -> object:
    from torchvision import models

    known = models.list_models()
    if name not in known:
        raise InputError(
            unknown_name("torchvision model", name, known), where=f"torchvision:{name}"
        )
    _refuse_files(args, _FETCHED_BY_TORCHVISION, f"torchvision:{name}")
    if name in models.list_models(module=models.detection):
        from squeeze.models.detectors.torchvision import build

        return call_factory(build, {"name": name, "args": args}, f"torchvision:{name}")
    plain = (
        {"weights": None}
        | ({"init_weights": True} if name in {"googlenet", "inception_v3"} else {})
        | dict(args)
    )
    builder: Callable[..., object] = models.get_model_builder(name)
    return call_factory(builder, plain, f"torchvision:{name}")


def _timm(name: str, args: "Arguments") -> object:
    try:
        import timm
    except ImportError as error:
        raise InputError(
            "timm is not installed", where=f"timm:{name}", hint="pip install 'squeeze[timm]'"
        ) from error
    pretrained_input.refuse_unknown_timm(name)
    _refuse_files(args, _FETCHED_BY_TIMM, f"timm:{name}")
    create: Callable[..., object] = timm.create_model
    return call_factory(create, {"model_name": name} | dict(args), f"timm:{name}")


def transformers_detectors(where: str) -> "ModuleType":
    """Return the module that makes and loads detectors of transformers.

    Raises:
        InputError: transformers is not installed.
    """
    if find_spec("transformers") is None:
        raise InputError(
            "transformers is not installed", where=where, hint="pip install 'squeeze[transformers]'"
        )
    from squeeze.models.detectors import transformers

    return transformers
