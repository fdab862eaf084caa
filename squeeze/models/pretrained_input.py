"""How libraries prepare images for their weights: what a recipe's ``input`` leaves out.

Sources: ``pretrained_cfg`` of timm, as its ``resolve_data_config`` reads it; the transforms of
torchvision's weights, and the ``transform`` of its detectors; the ``preprocessor_config.json`` that
transformers saves.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from pydantic import ValidationError

from squeeze.core.errors import InputError, unknown_name
from squeeze.models import reference
from squeeze.models.adapters.base import Foreign
from squeeze.recipe.schema import LIBRARIES, InputSpec, ModelBlock

_NEW_NAME = {"squash": "stretch", "border": "letterbox"}
_PREPROCESSOR = "preprocessor_config.json"
_RESAMPLED = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers."""


class InputValues(TypedDict, total=False):
    """Keys of ``InputSpec`` that a library knows."""

    shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: str
    crop_fraction: float
    interpolation: str


@dataclass(frozen=True)
class PretrainedInput:
    """What a library says of a model's input.

    Attributes:
        values: Of ``InputSpec``; without what the library does not say.
        source: Where they come from, in words.
        test: Another shape that it was evaluated at, and the crop fraction there.
        note: What cannot be said in an ``InputSpec``.
    """

    values: InputValues
    source: str
    test: tuple[tuple[int, ...], float] | None = None
    note: str = ""


def complete(
    given: InputSpec | None, build: str, args: Mapping[str, object], weights: Path | None
) -> tuple[InputSpec | None, str]:
    """Fill in what was left out of a model's input, where its library knows it.

    Args:
        given: What the recipe says, which takes precedence, or None.
        build: The factory's reference.
        args: Its keyword arguments.
        weights: The file that is loaded: it may be one of the library's.

    Returns:
        The input, and a sentence about what was taken; the input as given and nothing where the
        library knows nothing more.

    Raises:
        InputError: The library does not know the model.
    """
    if not build.startswith(LIBRARIES) or (given is not None and given.is_complete):
        return given, ""
    moments_left_out = given is None or bool(given.left_out & {"mean", "std"})
    found = _described(build, args, weights, moments_left_out=moments_left_out)
    if found is None or (given is None and "shape" not in found.values):
        return given, ""
    own = {} if given is None else {key: getattr(given, key) for key in given.model_fields_set}
    shape: tuple[int, ...] = found.values["shape"] if given is None else tuple(given.shape)
    values = _for_shape(found, shape, own)
    taken = {key: value for key, value in values.items() if key not in own}
    try:
        spec = InputSpec.model_validate(taken | own)
    except ValidationError as error:
        raise InputError(f"input: {error.errors()[0]['msg']}", where=build) from error
    if "crop_fraction" in taken and shape != tuple(found.values.get("shape", shape)):
        # meant for another size: it gives way where images have about the input's
        given_keys = spec.model_fields_set - {"crop_fraction"}
        spec = InputSpec.model_construct(given_keys, **spec.model_dump())
    note = f"; {found.note}" if found.note else ""
    return spec, f"{_words(taken)}: taken from {found.source}{note}" if taken else ""


def _for_shape(
    found: PretrainedInput, shape: tuple[int, ...], own: Mapping[str, object]
) -> InputValues:
    """Return a library's values without those that do not go with a shape, or with ``own``."""
    values = found.values.copy()
    if found.test is not None and shape == found.test[0]:
        values |= {"shape": shape, "crop_fraction": found.test[1]}
    if shape[0] != len(values.get("mean", (0,) * shape[0])):  # its numbers are of other channels
        del values["mean"], values["std"]
    if "crop_fraction" in own:
        values.pop("fit", None)
    if own.get("fit", values.get("fit", "crop")) != "crop":
        values.pop("crop_fraction", None)
    return values


def complete_saved(given: InputSpec, folder: Path) -> tuple[InputSpec, str]:
    """Fill in what was left out, where transformers has saved how it prepares images.

    Args:
        given: What the recipe says, which takes precedence.
        folder: What ``save_pretrained`` left.

    Returns:
        The input, and a sentence about what was taken.
    """
    try:
        saved = dict(json.loads((folder / _PREPROCESSOR).read_text(encoding="utf-8")))
        values: InputValues = {}
        if "resample" in saved:
            values["interpolation"] = _RESAMPLED[saved["resample"]]
        if saved.get("do_normalize", True):
            values |= {"mean": tuple(saved["image_mean"]), "std": tuple(saved["image_std"])}
        taken = {key: value for key, value in values.items() if key in given.left_out}
        spec = InputSpec.model_validate(given.model_dump(exclude_unset=True) | taken)
    except (OSError, ValueError, LookupError, TypeError):  # not there, or in words of its own
        return given, ""
    return spec, f"{_words(taken)}: taken from its {_PREPROCESSOR}" if taken else ""


def of_block(block: str, folder: str) -> str:
    """Return the sentence about a recipe's model block, which is given as JSON.

    Raises:
        InputError: The library does not know the model, or not enough to build it.
    """
    model = ModelBlock.model_validate_json(block)
    weights = reference.weights_path(model.stored_weights, Path(folder))
    spec, note = complete(model.input, model.build or "", model.args, weights)
    if spec is None:
        raise needed(model.build or "")
    return f"model.input: {note}" if note else ""


def needed(build: str) -> InputError:
    """Return the error of a model whose input is not known."""
    return InputError("needs 'input', for example {shape: [3, 224, 224]}", where=f"model {build}")


def _words(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {_text(value)}" for key, value in values.items())


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))})"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _described(
    build: str, args: Mapping[str, object], weights: Path | None, *, moments_left_out: bool
) -> PretrainedInput | None:
    head, _, name = build.partition(":")
    if head == "timm":
        return _timm(name, args, weights)
    from torchvision import models

    if name not in models.list_models():
        raise InputError(unknown_name("torchvision model", name, models.list_models()), where=build)
    if name in models.list_models(module=models.detection):
        return _detector(name, args) if moments_left_out else None  # it takes a model to know
    return _classifier(name, args, weights)


def _timm(name: str, args: Mapping[str, Foreign], weights: Path | None) -> PretrainedInput | None:
    try:
        import timm
    except ImportError as error:
        raise InputError(
            "timm is not installed", where=f"timm:{name}", hint="pip install 'squeeze[timm]'"
        ) from error
    refuse_unknown_timm(name)
    architecture, _, tag = name.partition(".")
    asked = args.get("pretrained_cfg")
    tag = asked if isinstance(asked, str) else tag or _tag(architecture, weights)
    found = timm.get_pretrained_cfg(f"{architecture}.{tag}" if tag else architecture)
    if found is None:
        return None
    numbers = found.to_dict() | (asked if isinstance(asked, dict) else {})
    numbers |= args.get("pretrained_cfg_overlay") or {}
    mode, crop = numbers.get("crop_mode") or "center", float(numbers.get("crop_pct") or 0.875)
    values: InputValues = {
        "shape": _shape(tuple(numbers.get("input_size") or (3, 224, 224)), args),
        "mean": tuple(map(float, numbers["mean"])),
        "std": tuple(map(float, numbers["std"])),
        "fit": "crop" if crop < 1 else _NEW_NAME.get(mode, "crop"),
        "crop_fraction": crop,
        "interpolation": numbers.get("interpolation") or "bicubic",
    }
    note = ""
    if crop > 1:
        values["crop_fraction"], note = 1.0, "its crop of more than the whole adds a border"
    if mode == "squash" and crop < 1:
        note = "its crop_mode squash does not keep proportions, this crop does"
    elif mode == "border":
        note = "its crop_mode border fills with the mean colour, letterbox with grey"
    called = f"{architecture}.{found.tag}" if found.tag else architecture
    return PretrainedInput(
        values, f"timm's pretrained_cfg of {called}", _evaluated(numbers, crop), note
    )


def refuse_unknown_timm(name: str) -> None:
    """Refuse what timm does not know: an architecture, or the tag of its weights after a point.

    Raises:
        InputError: With the nearest name that it knows.
    """
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        known = timm.list_models()
        raise InputError(unknown_name("timm model", architecture, known), where=f"timm:{name}")
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
        raise InputError(
            unknown_name(f"tag of timm's {architecture}", tag, tags), where=f"timm:{name}"
        ) from None


def _evaluated(numbers: Mapping[str, Foreign], crop: float) -> tuple[tuple[int, ...], float] | None:
    size = numbers.get("test_input_size")
    return None if size is None else (tuple(size), float(numbers.get("test_crop_pct") or crop))


def _shape(shape: tuple[int, ...], args: Mapping[str, Foreign]) -> tuple[int, ...]:
    """Return what timm's arguments make of a shape."""
    size = args.get("img_size", shape[1:])
    sides = (size, size) if isinstance(size, int) else tuple(size)
    return (args.get("in_chans", shape[0]), *sides)


def _tag(architecture: str, weights: Path | None) -> str:
    """Return the tag whose weights a file is, by the name that timm or its hub gives it."""
    if weights is None:
        return ""
    import timm

    for name in timm.list_pretrained(f"{architecture}.*"):
        found = timm.get_pretrained_cfg(name)
        address = (found.url or "") if found is not None else ""
        if name in {weights.stem, weights.parent.name} or Path(address).name == weights.name:
            return str(name.partition(".")[2])
    return ""


def _classifier(
    name: str, args: Mapping[str, object], weights: Path | None
) -> PretrainedInput | None:
    from torchvision import models
    from torchvision.transforms._presets import ImageClassification

    known = models.get_model_weights(name)
    if not len(known):
        return None
    found = _named(known, args.get("weights")) or _of_file(known, weights) or known["DEFAULT"]
    transform = found.transforms()
    if not isinstance(transform, ImageClassification):
        return None
    (crop,), (resize,) = transform.crop_size, transform.resize_size
    values: InputValues = {
        "shape": (len(transform.mean), crop, crop),
        "mean": tuple(transform.mean),
        "std": tuple(transform.std),
        "crop_fraction": crop / resize,
        "interpolation": transform.interpolation.value,
    }
    return PretrainedInput(
        values, f"torchvision's transforms of {type(found).__name__}.{found.name}"
    )


def _named(known: Foreign, asked: object) -> Foreign:
    """Return the weights that the factory is asked to download."""
    name = getattr(asked, "name", str(asked).rpartition(".")[2])
    return known[name] if name in known.__members__ else None


def _of_file(known: Foreign, weights: Path | None) -> Foreign:
    """Return the weights that a file is: by torchvision's name for it, or by its hash in there."""
    if weights is None or not weights.is_file():
        return None
    by_name = {Path(one.url).name: one for one in known}
    if weights.name in by_name or len(by_name) == 1:
        return by_name.get(weights.name)
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return next((one for file, one in by_name.items() if digest.startswith(_hash(file))), None)


def _hash(name: str) -> str:
    """Return the hash in a file's name such as ``resnet50-0676ba61.pth``."""
    return Path(name).stem.rpartition("-")[2] or name


def _detector(name: str, args: Mapping[str, object]) -> PretrainedInput | None:
    """Return what a detector does with its images itself; here that is done before."""
    from torchvision import models

    plain = {"weights": None, "weights_backbone": None} | dict(args)
    try:
        transform = models.get_model_builder(name)(**plain).transform
    except Exception:  # noqa: BLE001  (wrong arguments are reported where the model is built)
        return None
    values: InputValues = {
        "mean": tuple(map(float, transform.image_mean)),
        "std": tuple(map(float, transform.image_std)),
    }
    if transform.fixed_size is not None:
        wide, tall = transform.fixed_size
        values |= {"shape": (3, tall, wide), "fit": "stretch"}
    return PretrainedInput(values, f"torchvision's {name}")
