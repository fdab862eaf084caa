"""Build a model from a recipe's model block, load its weights, and refuse what cannot work."""

import pickle
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from squeeze.core.errors import InputError, unknown_name
from squeeze.recipe.schema import InputSpec, ModelBlock
from squeeze.sources import reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

PruningEvent = tuple[str, bool, list[int]]
"""Module name, whether output (not input) channels went, and their indices."""

BUILTIN = ("resnet8", "resnet20", "resnet56")
_SHOWN = 6


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build a model again: no code, no pickle.

    Attributes:
        build: The factory's reference.
        folder: Where a relative ``./file.py`` in ``build`` starts.
        args: The factory's keyword arguments.
        input: What the model is fed.
        pruning: Every channel removal since the factory, in order.
    """

    build: str
    folder: Path
    args: dict[str, Any]
    input: InputSpec
    pruning: list[PruningEvent] = field(default_factory=list)


@dataclass(frozen=True)
class Model:
    """A torch module together with how to build it again."""

    module: "nn.Module"
    architecture: Architecture

    @property
    def input(self) -> InputSpec:
        """What the model is fed."""
        return self.architecture.input

    def pruned(self, module: "nn.Module", events: "list[PruningEvent]") -> "Model":
        """Return the model after further pruning."""
        history = [*self.architecture.pruning, *events]
        return Model(module, replace(self.architecture, pruning=history))


def build(block: ModelBlock, folder: Path, *, default_input: InputSpec | None = None) -> Model:
    """Build a model and load its weights.

    Args:
        block: The recipe's model block.
        folder: Where relative paths start.
        default_input: Used when the block has none (a teacher sees what the student sees).

    Raises:
        InputError: Unknown factory, not an ``nn.Module``, weights that do not fit or hold NaN.
    """
    path = _weights_path(block.weights, folder)
    if path is not None and path.is_dir():
        from squeeze.sources import bundle

        model = bundle.load(path)
    else:
        spec = block.input or default_input
        if block.build is None or spec is None:
            raise InputError("needs 'build' and 'input'", where="model")
        module = make(block.build, block.args, folder)
        if path is not None:
            load_weights_(module, read_weights(path), where=str(path))
        model = Model(module, Architecture(block.build, folder, dict(block.args), spec))
    _refuse_nan(model.module, str(path or block.build))
    return model


def make(build: str, args: "Mapping[str, Any]", folder: Path) -> "nn.Module":
    """Call a model factory.

    Raises:
        InputError: The factory does not exist, fails, or returns something else than a module.
    """
    from torch import nn

    head, _, name = build.rpartition(":")
    if head == "torchvision":
        module = _torchvision(name, args)
    elif head == "timm":
        module = _timm(name, args)
    else:
        if head == "builtin":
            if name not in BUILTIN:
                raise InputError(unknown_name("builtin model", name, BUILTIN), where=build)
            build = f"squeeze.sources.cifar_resnet:{name}"
        factory = reference.function(build, folder)
        module = _call(factory, args, build)
    if not isinstance(module, nn.Module):
        raise InputError(
            f"returned {type(module).__name__}, expected a torch.nn.Module",
            where=build,
            hint="let the factory return the model itself",
        )
    return module.eval()


def _call(factory: Any, args: "Mapping[str, Any]", where: str) -> Any:  # noqa: ANN401
    try:
        return factory(**args)
    except Exception as error:
        raise InputError(
            f"building the model failed: {type(error).__name__}: {error}",
            where=where,
            hint="check model.args",
        ) from error


def _torchvision(name: str, args: "Mapping[str, Any]") -> Any:  # noqa: ANN401
    from torchvision import models

    known = models.list_models()
    if name not in known:
        raise InputError(
            unknown_name("torchvision model", name, known), where=f"torchvision:{name}"
        )
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
    known = timm.list_models()
    if name not in known:
        raise InputError(unknown_name("timm model", name, known), where=f"timm:{name}")
    return _call(timm.create_model, {"model_name": name} | dict(args), f"timm:{name}")


def _weights_path(weights: str | None, folder: Path) -> Path | None:
    if weights is None:
        return None
    if weights.startswith("package:"):
        return reference.package_file(weights)
    path = folder / weights
    if not path.exists():
        raise InputError("no such file or folder", where=str(path))
    return path


def read_weights(path: Path) -> "dict[str, Tensor]":
    """Read a state dict from ``.safetensors`` or a weights-only ``.pt``/``.pth``.

    Raises:
        InputError: The file is a pickle with code, damaged, or no state dict.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)  # type: ignore[no-any-return]
        except (SafetensorError, OSError) as error:
            raise InputError(f"is not a safetensors file: {error}", where=str(path)) from error
    return _read_pt(path)


def _read_pt(path: Path) -> "dict[str, Tensor]":
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, AttributeError, ImportError) as error:
        raise InputError(
            "is a pickle that holds more than tensors; loading it would run code from the file",
            where=str(path),
            hint='where you trust it, convert it once: python -c "import torch; torch.save('
            "torch.load('OLD.pth', weights_only=False).state_dict(), 'NEW.pth')\"",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(f"cannot be read as torch weights: {error}", where=str(path)) from error
    for key in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(torch.is_tensor(v) for v in found.values()):
        raise InputError("holds no state dict (a mapping of names to tensors)", where=str(path))
    return {key.removeprefix("module."): value for key, value in found.items()}


def load_weights_(module: "nn.Module", weights: "Mapping[str, Tensor]", *, where: str) -> None:
    """Load a state dict strictly, in place.

    Raises:
        InputError: Keys or shapes differ; the first of each kind are listed.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in weights]
    surplus = [key for key in weights if key not in own]
    shapes = [
        (key, tuple(weights[key].shape), tuple(own[key].shape))
        for key in own
        if key in weights and weights[key].shape != own[key].shape
    ]
    if not (missing or surplus or shapes):
        module.load_state_dict(dict(weights))
        return
    lines = [f"{key}: file {found}, model {expected}" for key, found, expected in shapes]
    text = "; ".join(
        f"{len(keys)} {label}: {', '.join(keys[:_SHOWN])}{', …' if len(keys) > _SHOWN else ''}"
        for label, keys in (
            ("keys missing in the file", missing),
            ("keys the model does not have", surplus),
            ("shapes differ", lines),
        )
        if keys
    )
    raise InputError(f"does not fit the model: {text}", where=where, hint=_classes_hint(shapes))


def _classes_hint(shapes: list[tuple[str, tuple[int, ...], tuple[int, ...]]]) -> str | None:
    heads = [
        (found[0], expected[0])
        for _, found, expected in shapes
        if found and expected and found[1:] == expected[1:]
    ]
    if heads and len(heads) == len(shapes) and len(set(heads)) == 1:
        found, expected = heads[0]
        return (
            f"the weights are for {found} classes and the model has {expected}: "
            f"set model.args.num_classes: {found}"
        )
    return None


def _refuse_nan(module: "nn.Module", where: str) -> None:
    import torch

    bad = [
        name
        for name, tensor in module.state_dict().items()
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]
    if bad:
        raise InputError(
            f"{len(bad)} tensors hold NaN or infinity: {', '.join(bad[:_SHOWN])}",
            where=where,
            hint="these weights are damaged; use an earlier checkpoint",
        )
