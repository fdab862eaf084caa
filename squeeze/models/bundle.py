"""A compressed model on disk: ``architecture.json`` and ``weights.safetensors``.

Loading builds the model by its factory, gives it the recorded widths and loads the tensors; see
``structure``. Nothing is unpickled and no code runs because a bundle names it: a factory that is
not squeeze's own is called only if the user names the same one (``core.permission``). One in
``./file.py`` stays where it is and the bundle remembers the path relative to itself.
"""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from squeeze._version import __version__
from squeeze.core import permission, specs
from squeeze.core.errors import InputError, SqueezeError
from squeeze.models import adapters, factory, structure, types, written_sizes
from squeeze.models.weights import load_weights_, read_weights
from squeeze.recipe import records
from squeeze.recipe.schema import Block, InputSpec
from squeeze.store import checksums, new_folder

if TYPE_CHECKING:
    from torch import Tensor, nn

ARCHITECTURE = "architecture.json"
WEIGHTS = "weights.safetensors"
_SAVED_WITH = "load it with the code, and the versions of libraries, that it was saved with"


class ArchitectureFile(Block):
    """The schema of ``architecture.json``, version 1."""

    version: Literal[1] = 1
    squeeze: str
    build: str
    args: dict[str, object]
    input: InputSpec
    adapters: tuple[str, ...] = ()
    attributes: structure.Attributes = Field(default_factory=dict)
    pruning: tuple[types.PruningRound, ...] = ()
    classes: tuple[str, ...] = ()


def save(model: types.Model, folder: Path) -> Path:
    """Write a bundle; the folder appears whole or not at all.

    Raises:
        InputError: The folder exists already or cannot be written.
        SqueezeError: The module holds what a bundle cannot: it would not compute the same.
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
            adapters=architecture.adapters,
            attributes=_attributes(model),
            pruning=architecture.pruning,
            classes=architecture.classes,
        )
        text = json.dumps(record.model_dump(mode="json"))
        (inside / ARCHITECTURE).write_text(text, encoding="utf-8")
        tensors = {
            name: tensor.detach().cpu().contiguous().clone()
            for name, tensor in model.module.state_dict().items()
        }
        # its own save_file hides a full disk behind an error of its own
        (inside / WEIGHTS).write_bytes(to_bytes(tensors))
        checksums.write_sums(inside, (inside / ARCHITECTURE, inside / WEIGHTS))
    return folder


def read(folder: Path) -> ArchitectureFile:
    """Read a bundle's record.

    Raises:
        InputError: Not a bundle, or its record is damaged.
    """
    try:
        return records.read(folder / ARCHITECTURE, ArchitectureFile)
    except FileNotFoundError:
        raise _no_bundle(folder) from None


def _no_bundle(folder: Path) -> InputError:
    """Return the error for a place without a record."""
    where = str(folder)
    if specs.runtime_of_file(folder) is not None and folder.is_file():
        return InputError(
            "is an exported file, and only a bundle's torch model is exported or changed",
            where=where,
            hint="give the bundle that it was made from; squeeze eval, bench and inspect take the "
            "file as it is",
        )
    if folder.is_file():
        return InputError("is a file, and a bundle is a folder", where=where)
    if not folder.exists():
        return InputError("no such folder", where=where)
    return InputError(f"is not a bundle: {ARCHITECTURE} is missing", where=where)


def load(folder: Path, *, build: str | None = None) -> types.Model:
    """Load a bundle with its record.

    Args:
        folder: The bundle.
        build: Use this factory instead of the recorded one (after its file has moved).

    Raises:
        InputError: Not a bundle, a factory that is not found or not allowed, or tensors that do
            not fit.
    """
    folder = Path(folder)
    if build is None:  # before damage is reported: what would have run matters more
        _check_factory(folder)
    _refuse_damaged(folder)
    record = read(folder)
    if not (folder / WEIGHTS).is_file():
        raise InputError(f"is not a bundle: {WEIGHTS} is missing", where=str(folder))
    start = Path.cwd() if build else folder
    module = factory.make(build or record.build, record.args, start)
    tensors = read_weights(folder / WEIGHTS)
    if record.pruning or record.adapters:
        adapters.apply_(module, record.adapters)
        structure.restore_(module, record.attributes, tensors, where=str(folder))
    load_weights_(module, tensors, where=str(folder))
    _check_sizes(module.eval(), record.input.shape, where=str(folder))
    architecture = types.Architecture(
        build or record.build,
        start.resolve(),
        record.args,
        record.input,
        record.adapters,
        record.pruning,
        record.classes,
    )
    return types.Model(module.eval(), architecture)


def _refuse_damaged(folder: Path) -> None:
    """Refuse a bundle whose files are not those that ``save`` wrote; older ones hold no sums.

    Raises:
        InputError: They are not.
    """
    for fault in checksums.faults(folder, checksums.read_sums(folder) or {}):
        raise InputError(
            fault,
            where=str(folder),
            hint="make the bundle again, or copy it again from where it is whole; if it was "
            f"changed on purpose, remove {checksums.SUMS}",
        )


def load_bundle(
    path: str | Path, *, build: str | None = None, allow_code: str | Sequence[str] = ()
) -> "nn.Module":
    """Load a bundle as a plain ``torch.nn.Module`` in eval mode, ready to run or to train.

    Args:
        path: The bundle's folder.
        build: Overrides the recorded factory, for example ``./my_model.py:make``.
        allow_code: Factories that the bundle may call, besides squeeze's own sources: references
            like those of ``build``.

    Returns:
        The model: ``(N, C, H, W)`` images to ``(N, classes)`` logits, or to a detector's raw
        outputs.

    Raises:
        InputError: See ``load``.
    """
    with permission.allowing(_several(allow_code), Path.cwd()):
        return load(Path(path), build=build).module


def save_bundle(
    module: "nn.Module",
    path: str | Path,
    *,
    like: str | Path,
    allow_code: str | Sequence[str] = (),
) -> Path:
    """Save a module that was loaded from a bundle and trained since.

    Args:
        module: What ``load_bundle(like)`` returned.
        path: The new bundle's folder.
        like: The bundle whose record it keeps.
        allow_code: As for ``load_bundle``.

    Raises:
        InputError: ``path`` exists, or the module's tensors are not those of ``like``.
    """
    with permission.allowing(_several(allow_code), Path.cwd()):
        model = load(Path(like))
    load_weights_(model.module, module.state_dict(), where=str(path))
    return save(model, Path(path))


def _several(references: str | Sequence[str]) -> Sequence[str]:
    return [references] if isinstance(references, str) else references


def _check_sizes(module: "nn.Module", shape: tuple[int, int, int], *, where: str) -> None:
    """See that the code still makes the calls whose sizes are corrected; run once if there are any.

    Raises:
        InputError: It does not: it has changed since the bundle was saved.
    """
    import torch

    wanted = {
        (path, entry[0]): type(part).__name__
        for path, part in module.named_modules()
        for entry in getattr(part, written_sizes.ATTRIBUTE, ())
    }
    if not wanted:
        return
    with torch.inference_mode(), written_sizes.numbered(module) as calls:
        try:
            module(torch.zeros(1, *shape))
        except Exception as error:
            raise InputError(
                f"the model cannot run: {str(error).partition(chr(10))[0]}",
                where=where,
                hint=_SAVED_WITH,
            ) from error
    for (path, call), kind in wanted.items():
        if (path, call) not in calls.names:
            raise InputError(
                f"the code of {path or 'the model'} ({kind}) no longer makes the call {call}, "
                "whose sizes pruning has changed",
                where=where,
                hint=_SAVED_WITH,
            )


def _attributes(model: types.Model) -> structure.Attributes:
    """Return what to set on a fresh module, after trying it out.

    Raises:
        SqueezeError: A module so restored does not compute the same.
    """
    architecture = model.architecture
    if not (architecture.pruning or architecture.adapters):
        return {}
    fresh = factory.make(architecture.build, architecture.args, architecture.folder)
    adapters.apply_(fresh, architecture.adapters)
    # as it comes back from the file: JSON makes lists of tuples
    found: structure.Attributes = json.loads(json.dumps(structure.differences(model.module, fresh)))
    tensors = model.module.state_dict()
    where = architecture.build
    structure.restore_(fresh, found, tensors, where=where)
    load_weights_(fresh, tensors, where=where)
    if not _computes_the_same(model, fresh.eval()):
        raise SqueezeError(
            "the pruned model cannot be built again from its factory, plain attributes and tensors",
            where=where,
            hint="a layer keeps widths in something else; please report the architecture",
        )
    return found


def _computes_the_same(model: types.Model, fresh: "nn.Module") -> bool:
    import torch

    images = torch.linspace(-1, 1, 2 * math.prod(model.input.shape))
    images = images.reshape(2, *model.input.shape)
    was_training = model.module.training
    with torch.inference_mode():
        expected = _all_outputs(model.module.eval()(images))
        model.module.train(was_training)
        try:
            got = _all_outputs(fresh(images))
        except Exception:  # noqa: BLE001  whatever its own code raises on widths it does not expect
            return False
    return len(expected) == len(got) and all(
        own.shape == other.shape
        and torch.allclose(own, other, rtol=1e-4, atol=1e-5 * float(own.abs().max()))
        for own, other in zip(expected, got, strict=True)
    )


def _all_outputs(outputs: "Tensor | Sequence[Tensor]") -> "tuple[Tensor, ...]":
    import torch

    return (outputs,) if torch.is_tensor(outputs) else tuple(outputs)


def _check_factory(folder: Path) -> None:
    """Refuse a factory that is gone, or that is not allowed.

    Raises:
        InputError: It is. Other damage of the record is left to whoever reads it.
    """
    record = records.read_mapping(folder / ARCHITECTURE)
    build, args = record.get("build"), record.get("args")
    if not isinstance(build, str) or not isinstance(args, dict):
        return
    if permission.is_missing(build, folder):
        what = f"the model's factory {build} is not where it was when this bundle was saved"
        hint: str | None = (
            "pass its new place: load_bundle(path, build='./file.py:function'), or 'build' "
            "beside 'weights' in a recipe"
        )
    else:
        what, hint = permission.refusal(build, args, folder) or ("", None)
    if what:
        try:
            faults = list(checksums.faults(folder, checksums.read_sums(folder) or {}))
        except InputError as error:
            faults = [str(error)]
        raise InputError("; ".join((what, *faults)), where=str(folder), hint=hint)


def _relative(build: str, start: Path, folder: Path) -> str:
    head, _, name = build.rpartition(":")
    if not head.endswith(".py"):
        return build
    return f"{os.path.relpath((start / head).resolve(), folder.resolve())}:{name}"
