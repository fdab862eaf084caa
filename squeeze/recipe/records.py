"""JSON files beside models, checked as they are read: every mistake is reported with its place."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json

from squeeze.core import reading
from squeeze.core.errors import InputError
from squeeze.recipe.explain import rule

Record = TypeVar("Record", bound=BaseModel)

_SHOWN = 4


def read(path: Path, schema: type[Record]) -> Record:
    """Read a record of a known shape.

    Raises:
        InputError: It is not JSON, or values are missing, unknown or of the wrong kind.
        FileNotFoundError: There is none.
    """
    if not reading.exists(path):
        raise FileNotFoundError(str(path))
    if not (reading.is_file(path) or reading.is_folder(path)):
        raise InputError("is a pipe or a device, not a file", where=str(path))
    try:
        return schema.model_validate_json(reading.file_bytes(path))
    except ValidationError as error:
        raise InputError(f"is damaged: {mistakes(error)}", where=str(path)) from error


def read_mapping(path: Path) -> dict[str, object]:
    """Read a JSON file that holds a mapping; an empty one where it does not, or cannot be read."""
    if not reading.is_file(path):
        return {}
    try:
        found = from_json(reading.file_bytes(path))
    except (InputError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def mistakes(error: ValidationError) -> str:
    """Return what is wrong with a record, each mistake with its place."""
    found = [_sentence(item) for item in error.errors()]
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more


def _sentence(item: ErrorDetails) -> str:
    place = ".".join(map(str, item["loc"]))
    if item["type"] == "json_invalid":
        return f"it is not JSON ({item['ctx']['error']})"
    if item["type"] == "missing":
        return f"'{place}' is missing"
    if item["type"] == "extra_forbidden":
        return f"unknown key '{place}'"
    return f"{place}: {rule(item)}" if place else rule(item)
