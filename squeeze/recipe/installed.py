"""The JSON Schema of recipes with the names and options of what is installed, for editors."""

from collections.abc import Iterator

from pydantic.json_schema import JsonSchemaValue

from squeeze.core import plugins
from squeeze.core.errors import InputError
from squeeze.recipe.schema import Recipe

_NAMES = {
    ("Target", "runtime"): plugins.RUNTIMES,
    ("Speedup", "runtime"): plugins.RUNTIMES,
    ("QuantizeStep", "backend"): plugins.BACKENDS,
    ("QatStep", "backend"): plugins.BACKENDS,
    ("PruneStep", "importance"): plugins.IMPORTANCE,
    ("SparseTraining", "regularizer"): plugins.SPARSE,
    ("LossBlock", "name"): plugins.LOSSES,
    ("CalibratorBlock", "name"): plugins.CALIBRATORS,
    ("DataSource", "format"): plugins.DATASETS,
}
"""Keys of blocks that name an extension."""

_OPTIONS = {
    ("LossBlock", "name"): "options",
    ("CalibratorBlock", "name"): "options",
    ("DataSource", "format"): "args",
}
"""Keys beside them that hold the extension's options."""


def recipe_schema() -> JsonSchemaValue:
    """Return the schema of recipes; an extension that cannot be imported has a name only."""
    schema = Recipe.model_json_schema(by_alias=True)
    blocks = schema["$defs"]
    for (block, key), group in _NAMES.items():
        mapping = _mapping(blocks[block])
        names = list(plugins.names(group))
        mapping["properties"][key]["enum"] = ["auto", *names] if key == "backend" else names
        beside = _OPTIONS.get((block, key))
        if beside is not None:
            rules = [
                {
                    "if": {"properties": {key: {"const": name}}, "required": [key]},
                    "then": {"properties": {beside: options}},
                }
                for name, options in _options(group)
            ]
            mapping["allOf"] = [*mapping.get("allOf", []), *rules]
    return schema


def _mapping(block: JsonSchemaValue) -> JsonSchemaValue:
    """Return the part of a block's schema that is a mapping: some may also be a text."""
    if "properties" in block:
        return block
    found: JsonSchemaValue = next(part for part in block["anyOf"] if "properties" in part)
    return found


def _options(group: str) -> Iterator[tuple[str, JsonSchemaValue]]:
    for name in plugins.names(group):
        try:
            model = getattr(plugins.load(group, name), "Options", None)
        except InputError:
            continue
        if model is not None:
            yield name, model.model_json_schema()
