"""From a model block of a recipe to a model with its weights."""

from pathlib import Path

from pydantic import ValidationError

from squeeze.core import permission
from squeeze.core.errors import InputError
from squeeze.models import darknet, pretrained_input, reference
from squeeze.models.factory import call_factory, make, transformers_detectors
from squeeze.models.types import Architecture, Model
from squeeze.models.weights import load_backbone_, load_weights_, read_weights, refuse_nan
from squeeze.recipe.schema import InputSpec, ModelBlock


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
        model = _of_factory(block, path, folder, default_input)
    refuse_nan(model.module, str(path or block.build))
    return model


def _of_factory(
    block: ModelBlock, path: Path | None, folder: Path, default_input: InputSpec | None
) -> Model:
    """Call the block's factory and load its weights, which are at ``path`` if there are any."""
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
    notes = (f"model.input of {block.build}: {note}",) if note else ()
    return Model(module, Architecture(block.build, folder, dict(block.args), spec), notes)


def _over(given: InputSpec, own: InputSpec, where: str) -> InputSpec:
    """Return a bundle's input with what is given in its place."""
    values = {key: getattr(given, key) for key in given.model_fields_set}
    try:
        return InputSpec.model_validate(own.model_dump() | values)
    except ValidationError as error:
        raise InputError(f"input: {error.errors()[0]['msg']}", where=where) from error


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


def _saved_by_transformers(block: ModelBlock, path: Path, spec: InputSpec | None) -> Model:
    """Load a folder of transformers; the record holds its configuration and needs no folder."""
    where, note = str(path), ""
    if block.build is not None or spec is None:
        raise InputError("says itself what to build: it needs 'input', and no 'build'", where=where)
    if block.input is not None:
        spec, note = pretrained_input.complete_saved(block.input, path)
    load = transformers_detectors(where).load
    module, name, args = call_factory(load, {"folder": path, "args": block.args}, where)
    notes = (f"model.input of {where}: {note}",) if note else ()
    return Model(module, Architecture(f"transformers:{name}", path.parent, args, spec), notes)
