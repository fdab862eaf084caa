"""Which keys of a data block a dataset format uses. Needs no torch.

A format of a package of yours may say so in its module: ``KEYS``, the keys of the block that it
looks at, and ``Options``, a pydantic model that forbids what it does not know, for ``args``.
"""

from collections.abc import Collection, Iterator

from pydantic import ValidationError

from squeeze.core import plugins
from squeeze.core.errors import InputError, unknown_name
from squeeze.recipe.document import Path_
from squeeze.recipe.schema import DataSource

Mistakes = Iterator[tuple[Path_, str]]

_EVERY = {"format", "samples", "on_corrupt", "classes"}
"""The keys that mean the same for all formats."""

_USUAL = {"path", "args", "split"}
"""What a format uses that does not say it."""


def unused(source: DataSource, keys: Collection[str], hint: str = "") -> Mistakes:
    """Yield the keys that are given and that the format does not look at."""
    for key in sorted(set(DataSource.model_fields) - {*_EVERY, *keys}):
        default = DataSource.model_fields[key].get_default(call_default_factory=True)
        if getattr(source, key) != default:
            yield (key,), f"format '{source.format}' does not use '{key}'{hint}"


def mistakes(source: DataSource) -> Mistakes:
    """Yield what a format of another package does not know, by what its module says."""
    try:
        module = plugins.load(plugins.DATASETS, source.format)
    except InputError as error:
        yield ("format",), str(error)
        return
    if not callable(getattr(module, "open_samples", None)):
        yield ("format",), f"{module.__name__} is no dataset format: it has no open_samples"
        return
    keys = getattr(module, "KEYS", _USUAL)
    yield from unused(source, keys, f"; what it uses stands in KEYS of {module.__name__}")
    options = getattr(module, "Options", None)
    if options is None:
        return
    try:
        options.model_validate(source.args)
    except ValidationError as error:
        for item in error.errors():
            key = str(item["loc"][0]) if item["loc"] else ""
            if item["type"] == "extra_forbidden":
                known = sorted(options.model_fields)
                yield ("args", key), unknown_name(f"argument of '{source.format}'", key, known)
            else:
                rule = item["msg"].replace("Input should be", "allowed:")
                yield ("args", key), f"found {item['input']!r}, {rule}"
