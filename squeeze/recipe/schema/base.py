"""The numbers and names that all blocks use, and the block that they all are."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from squeeze.core import docstrings

Count = Annotated[int, Field(strict=True, ge=1)]
Natural = Annotated[int, Field(strict=True, ge=0)]
Seed = Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)]
Number = Annotated[float, Field(strict=True)]
Positive = Annotated[float, Field(strict=True, gt=0)]
NonNegative = Annotated[float, Field(strict=True, ge=0)]
Fraction = Annotated[float, Field(strict=True, ge=0, le=1)]
Flag = Annotated[bool, Field(strict=True)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


RANDOM = "random"
"""The value of ``weights`` for a model that is meant to start untrained."""


class StartsAtRecipe:
    """Marks a text that may hold a path which starts at the recipe's folder."""

    def split(self, text: str) -> tuple[str, str]:
        """Return the path in a text, empty where it holds none, and what follows it."""
        return text, ""


class _InReference(StartsAtRecipe):
    def split(self, text: str) -> tuple[str, str]:
        head, colon, name = text.rpartition(":")
        return (head, colon + name) if head.endswith(".py") else ("", text)


class _InWeights(StartsAtRecipe):
    def split(self, text: str) -> tuple[str, str]:
        return ("", text) if text == RANDOM or text.startswith("package:") else (text, "")


LocalPath = Annotated[str, StartsAtRecipe()]
Reference = Annotated[str, _InReference()]
"""``./file.py:function``, or a name that is not a path."""

WeightsPath = Annotated[str, _InWeights()]
"""A file or folder, ``package:NAME/FILE``, or ``random``."""


def _describe(schema: JsonDict, block: type) -> None:
    """Give a block's JSON schema what its docstring says about it and each of its keys."""
    schema["description"] = docstrings.body(block)
    fields, properties = getattr(block, "model_fields", {}), schema.get("properties")
    for name, text in docstrings.attributes(block).items():
        key = getattr(fields.get(name), "alias", None) or name
        described = properties.get(key) if isinstance(properties, dict) else None
        if isinstance(described, dict):
            described["description"] = text


class Block(BaseModel):
    """A frozen mapping in which an unknown key is an error.

    Its JSON schema is described by its docstring: every key has a line under ``Attributes``.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, json_schema_extra=_describe
    )
