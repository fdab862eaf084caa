"""What a data block says, checked against what its format says about itself. Needs no torch."""

from collections.abc import Iterator

from squeeze.core import plugins, specs
from squeeze.core.errors import InputError, unknown_name
from squeeze.recipe import options
from squeeze.recipe.document import Path_
from squeeze.recipe.schema import DataSource

Mistakes = Iterator[tuple[Path_, str]]

_EVERY = {"format", "samples", "on_corrupt", "classes"}
"""The keys that every format has."""

_ARGS = "args"
_SAMPLES, _OPEN = "samples", "open_samples"


def mistakes(source: DataSource) -> Mistakes:
    """Yield what a format does not know, or lacks; places are inside the data block."""
    known = plugins.names(plugins.DATASETS)
    if source.format not in known:
        yield ("format",), unknown_name("format", source.format, known)
        return
    try:
        spec = specs.data_format(source.format)
        module = plugins.load(plugins.DATASETS, source.format)
    except InputError as error:
        yield ("format",), str(error)
        return
    has_samples = plugins.has_part(plugins.DATASETS, source.format, _SAMPLES)
    if not has_samples and not hasattr(module, _OPEN):
        yield ("format",), f"{module.__name__} is not a format: it has no {_OPEN}"
        return
    for key in spec.needs:
        if getattr(source, key, None) is None:
            yield (), f"format '{source.format}' needs '{key}'"
    yield from _unused(source, spec)
    if _ARGS in spec.uses:
        yield from wrong_args(source)


def opener(name: str) -> plugins.ExtensionFunction:
    """Return a format's ``open_samples``: of a folder's module ``samples``, or of its one file.

    Raises:
        InputError: There is no such format, or it is not one.
    """
    if plugins.has_part(plugins.DATASETS, name, _SAMPLES):
        module = plugins.load_part(plugins.DATASETS, name, _SAMPLES)
    else:
        module = plugins.load(plugins.DATASETS, name)
    found: plugins.ExtensionFunction | None = getattr(module, _OPEN, None)
    if found is None:
        raise InputError(f"is not a format: it has no {_OPEN}", where=module.__name__)
    return found


def labelled(kind: str) -> tuple[str, ...]:
    """Return the formats whose labels are ``boxes`` or ``classes``, and those that have either."""
    found = []
    for name in plugins.names(plugins.DATASETS):
        try:
            spec = specs.data_format(name)
        except InputError:  # reported where it is used
            continue
        found += [name] * (spec.labels in {kind, "either"})
    return tuple(found)


def wrong_args(source: DataSource) -> Mistakes:
    """Yield the arguments that a format does not take; places are inside the data block."""
    taken = getattr(plugins.load(plugins.DATASETS, source.format), "Options", None)
    if taken is not None:
        found = options.mistakes(taken, source.args, source.format, noun="argument")
        yield from (((_ARGS, *place), what) for place, what in found)


def _unused(source: DataSource, spec: specs.FormatSpec) -> Mistakes:
    """Yield the keys that are given and that the format does not look at."""
    taken = {*spec.needs, *spec.uses}
    for key in sorted(set(DataSource.model_fields) - _EVERY - taken):
        default = DataSource.model_fields[key].get_default(call_default_factory=True)
        if getattr(source, key) != default:
            uses = f"it uses {', '.join(sorted(taken))}" if taken else "it uses none"
            yield (key,), f"format '{source.format}' does not use '{key}'; {uses}"
