"""Build a model from a recipe's model block, load its weights, and refuse what cannot work."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from squeeze.core import model_names
from squeeze.core.errors import InputError, unknown_name
from squeeze.models import pretrained_input, reference, usable

if TYPE_CHECKING:
    from collections.abc import Mapping

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
