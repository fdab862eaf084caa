"""Options of an extension, checked against the model that its file holds."""

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ValidationError

from squeeze.core.errors import unknown_name
from squeeze.recipe.document import Path_


def mistakes(
    model: type[BaseModel], given: Mapping[str, object], owner: str, *, noun: str = "option"
) -> Iterator[tuple[Path_, str]]:
    """Yield what is wrong with options, each with its place inside them.

    Args:
        model: Refuses unknown keys.
        given: By the recipe.
        owner: The extension's name.
        noun: What the recipe calls one of them.
    """
    allowed = sorted(model.model_fields)
    try:
        model.model_validate(dict(given))
    except ValidationError as error:
        for item in error.errors():
            key = str(item["loc"][0]) if item["loc"] else ""
            if item["type"] != "extra_forbidden":
                rule = item["msg"].replace("Input should be", "allowed:")
                yield item["loc"], f"found {item['input']!r}, {rule}"
            elif allowed:
                yield (key,), unknown_name(f"{noun} of '{owner}'", key, allowed)
            else:
                yield (key,), f"'{owner}' has no {noun}s, found '{key}'"
